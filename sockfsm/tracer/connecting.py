"""accept, connect and connect_ex, traced: the calls that join two sockets."""

from __future__ import annotations

import _socket
import socket as _stdlib
from collections.abc import Callable
from errno import EAGAIN
from resource import RUSAGE_THREAD, getrusage
from select import POLLIN
from types import FrameType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import NUMBER
from sockfsm.record.writer import UNWATCHED
from sockfsm.tracer.begun import begun
from sockfsm.tracer.buffers import members, mro
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.likeness import invoke, own
from sockfsm.tracer.ongoing import OURS, Ongoing, foreign
from sockfsm.tracer.rows import step
from sockfsm.tracer.sockets import (
    UNBORN,
    adjust,
    described,
    note_names,
)

Method = Callable[..., Any]
Socket = _stdlib.socket
_getsockname = _socket.socket.getsockname
_id = id
_plain_accept = own("accept")
ACCEPT, ACCEPTED = NUMBER["accept"], NUMBER["accepted"]
ACCEPTING = [_plain_accept.__code__]
"""The code that makes the data socket of an accept()."""


def in_accept(frame: FrameType | None, descriptor: int) -> bool:
    """Whether the standard library's accept() makes this object, of whatever class."""
    maker = frame
    while maker is not None and maker.f_code.co_name == "__init__":
        maker = maker.f_back
    for code in ACCEPTING:
        if maker is not None and maker.f_code is code:
            break
    else:
        return False
    assert maker is not None
    # A class that the program put in place may make other sockets in its __init__.
    return maker is frame or any(
        type(value) is int and value == descriptor for value in list(maker.f_locals.values())
    )


def accept(self: Socket) -> Any:
    call = begun(self, ACCEPT, event=POLLIN)
    if call is None:
        return _plain_accept(self)
    try:
        plain = _acceptor(type(self))
    except OURS as error:
        if foreign(error):
            raise
        plain = _plain_accept
    try:
        result = plain(self)
    except BaseException as error:
        call.failed(error)
        raise
    try:
        _accepted(call, *result)
    except BaseException as error:
        if call.watch == UNWATCHED:
            call.session.log.untold.append(None)
        if foreign(error):
            raise
    return result


def _acceptor(cls: type) -> Method:
    """What accepts for a class: a drop-in of ours gives sockets of its own. Its attributes are not
    asked of it, which its metaclass could see."""
    for base in mro(cls):
        found = members(base).get("accept_plainly")
        if found is not None:
            return found  # type: ignore[no-any-return]
    return _plain_accept  # type: ignore[no-any-return]


def _accepted(call: Ongoing, data: Socket, address: Any) -> None:
    """The record of an accept(), and that of the data socket's birth."""
    session, now = call.session, Clocks.monotonic()
    call.ok(address=lambda: session.addresses.packed(address or None), end=now)
    tracked = session.records.get(_id(data))
    if tracked is None or tracked.model.number != UNBORN:
        return
    model = tracked.model
    model.lowat = call.tracked.model.lowat
    adjust(data, tracked)
    model.number = session.number()
    found, asked, done = described(session, data)
    bits, model.row = step(found.initial, ACCEPTED, "ok", "", model)
    site, thread = session.places.site_of(call.frame), session.me.number
    session.log.write(now, now, bits, model.number, site, thread, asked, done)


def connector(name: str) -> Method:
    """The traced `connect` or `connect_ex`."""
    method, plain = NUMBER[name], own(name)

    def connect(self: Socket, *args: Any, **named: Any) -> Any:
        call = begun(self, method)
        if call is None:
            return plain(self, *args, **named)
        address = args[0] if args else None
        sleeps = _may_wait(call)
        try:
            result = invoke(plain, args, named, call.frame, self)
        except BaseException as error:
            if sleeps is not None and getrusage(RUSAGE_THREAD).ru_nvcsw <= sleeps:
                call.went_on()
            call.failed(error, lambda refused=error: _ends(self, call, address, refused))  # type: ignore[misc]
            raise
        try:
            _connected(self, call, address, result, sleeps)
        except BaseException as error:
            if call.watch == UNWATCHED:
                call.session.log.untold.append(None)
            if foreign(error):
                raise
        return result

    return connect


def _may_wait(call: Ongoing) -> int | None:
    """How often this thread has slept so far, where the call may wait: nothing tells in advance."""
    try:
        if call.tracked.mode == "nonblocking" or call.row.refusal(call.method):
            return None
        sleeps = getrusage(RUSAGE_THREAD).ru_nvcsw
        call.waits()
        call.begin = Clocks.monotonic()
    except OURS as error:
        if foreign(error):
            raise
        return None  # no memory: it will seem to have gone on at once
    return sleeps


def _connected(self: Socket, call: Ongoing, address: Any, result: Any, sleeps: int | None) -> None:
    """A connect() that did not raise. sleeps: of this thread before it, where it may have waited."""
    if sleeps is not None and getrusage(RUSAGE_THREAD).ru_nvcsw <= sleeps:
        call.went_on()
    refusal: OSError | None = OSError(result, "") if result else None
    if result == EAGAIN and call.tracked.mode == "timeout":
        refusal = TimeoutError()
    ends = _ends(self, call, address, refusal)
    if refusal is not None:
        call.failed(refusal, lambda: ends)
        return
    call.session.me.resolved = False
    call.ok(address=lambda: ends)
    if type(address) is tuple and not ends[1]:
        note_names(call.session, self, call.tracked.model)


def _ends(
    sock: Socket, call: Ongoing, address: Any, error: BaseException | None
) -> tuple[int, int, int]:
    """Both ends of a connection: the kernel has given a local name unless it refused."""
    packed = call.session.addresses.packed
    if type(address) is not tuple or (error and not isinstance(error, BlockingIOError)):
        return packed(address)
    if error is not None and len(address) != 2:
        note_names(call.session, sock, call.tracked.model)
    return packed(address, name_of(sock) if len(address) == 2 else None)


def name_of(sock: Socket) -> Any:
    try:
        return _getsockname(sock)
    except OSError as error:
        if from_handler(error):
            raise
        return None  # closed by another thread meanwhile
