"""The call that the program is about to make: whether it can be followed, and whether it will wait."""

from __future__ import annotations

import _socket
import select
import socket as _stdlib
from collections.abc import Callable
from types import FrameType
from typing import Any

from sockfsm.tracer import current
from sockfsm.tracer.buffers import integer
from sockfsm.tracer.flags import may_go_on, waits_by, words_of
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.ongoing import OURS, Ongoing, foreign
from sockfsm.tracer.places import caller
from sockfsm.tracer.sockets import is_socket, tracked_by

_fileno = _socket.socket.fileno
_poll = select.poll
Looks = Callable[[], tuple[int, int, object]]
"""Gives (bytes, flags, address) of a transfer."""


def begun(
    sock: _stdlib.socket,
    method: int,
    args: tuple[Any, ...] = (),
    event: int = 0,
    looks: Looks | None = None,
    frame: FrameType | None = None,
) -> Ongoing | None:
    """The call that the program is about to make; None for one that cannot be followed: of what is no
    socket, or where there is no memory for it, which is told.

    args: of which the first is the record's `asked`, unless it `looks` itself. event: what it needs to
    go on at once. frame: where the program is, if that is not above the caller of this.
    """
    try:
        if not is_socket(sock):
            return None
        asked, flags, address = (integer(args[0]) if args else 0), 0, None
        if looks is not None:
            asked, flags, address = looks()
        call = Ongoing(tracked_by(sock), method, frame or caller(3), asked)
        if looks is not None:
            call.words = words_of(flags, asked, address)
        if event and will_wait(call, sock, event, flags):
            call.waits()
    except OURS as error:
        current.session.log.marked[0] = 1
        if foreign(error):
            raise
        return None
    return call


def will_wait(call: Ongoing, sock: _stdlib.socket, event: int, flags: int = 0) -> bool:
    """Whether a call is about to block: it needs `event`, and the kernel does not refuse it at once."""
    tracked = call.tracked
    if flags:
        if not waits_by(flags, call.method, tracked.row.kind.name, tracked.mode):
            return False
        if may_go_on(flags) and tracked.mode != "nonblocking":
            call.counts()
    if tracked.mode == "nonblocking" or (
        # With a timeout Python waits before it asks.
        tracked.mode == "blocking" and call.row.refusal(call.method)
    ):
        return False
    return not ready(sock, event)


def ready(sock: _stdlib.socket, event: int) -> bool:
    """Whether a call that needs `event` (POLLIN, POLLOUT) would go on at once."""
    poll = _poll()
    try:
        poll.register(_fileno(sock), event)
        return bool(poll.poll(0))
    except (ValueError, OSError) as error:
        if from_handler(error):
            raise
        return True  # closed: the call itself says so
