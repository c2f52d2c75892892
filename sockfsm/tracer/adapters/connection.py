"""`multiprocessing.connection`: a Connection reads and writes a descriptor that it owns."""

from __future__ import annotations

import _socket
import os
import select
import socket as _stdlib
import stat
from collections.abc import Callable
from select import POLLIN, POLLOUT
from types import FrameType, FunctionType, ModuleType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import NUMBER
from sockfsm.tracer import current
from sockfsm.tracer.adapters.standing_in import caller, named
from sockfsm.tracer.buffers import integer, octets
from sockfsm.tracer.ongoing import Ongoing
from sockfsm.tracer.places import inside
from sockfsm.tracer.sockets import Birth, claim, released

Method = Callable[..., Any]
_fstat, _poll = os.fstat, select.poll
_Socket = _stdlib.socket


def places(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """The birth of a Connection, its two loops and its end."""
    inside(module.__file__ or "")
    cls, base = module.Connection, module._ConnectionBase
    init, close = base.__init__, cls._close

    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807
        init(self, *args, **named)
        if isinstance(self, cls):
            _claim(self, caller())

    def _close(self: Any, *args: Any, **named: Any) -> None:
        tracked = current.session.connections.pop(id(self), None)
        if tracked is None:
            close(self, *args, **named)
            return
        call = Ongoing(tracked, NUMBER["close"], caller())
        close(self, *args, **named)
        released(tracked, call)

    return [
        (base, "__init__", named(__init__, init)),
        (cls, "_send", _traced(cls._send, "Connection.send", POLLOUT)),
        (cls, "_recv", _traced(cls._recv, "Connection.recv", POLLIN)),
        (cls, "_close", named(_close, close)),
    ]


def _claim(connection: Any, frame: FrameType | None) -> None:
    """Whose descriptor is it? One that was detached here, or one that another process sent."""
    session, descriptor = current.session, connection._handle
    try:
        if not stat.S_ISSOCK(_fstat(descriptor).st_mode):
            return  # a pipe
        # A socket object for a moment, to look at the descriptor with; no call of the program's.
        looked: Any = _Socket.__new__(_Socket)
        _socket.socket.__init__(looked, fileno=descriptor)
    except OSError:
        return  # closed, or no family that Python knows
    try:
        now = Clocks.monotonic()
        claim(Birth(session, NUMBER["adopt"], now, now, frame), looked)
        # A Connection's finalizer closes it, so each of them is taken out again.
        tracked = session.connections[id(connection)] = session.records.pop(id(looked))
        tracked.grave = None
    finally:
        _socket.socket.detach(looked)


def _traced(original: FunctionType, name: str, event: int) -> Method:
    """`_send` or `_recv`: both call a function of `os` until all is through."""
    method, receives = NUMBER[name], event == POLLIN
    system: Method = original.__defaults__[0]  # type: ignore[index]

    def moved(self: Any, *args: Any, **named: Any) -> Any:
        tracked = current.session.connections.get(id(self))
        # Its second argument is the function of `os`, unless a program gives its own.
        if tracked is None or named or not args or any(each is not system for each in args[1:]):
            return original(self, *args, **named)
        what = args[0]
        asked = max(integer(what), octets(what))
        call = Ongoing(tracked, method, caller(), asked)

        def once(descriptor: int, what: Any) -> Any:
            if not call.waited and not _ready(descriptor, event):
                call.waits()
            return system(descriptor, what)

        try:
            result = original(self, what, once)
        except BaseException as error:
            if receives and _cut(error):
                call.ok(outcome="eof")
            else:
                call.failed(error)
            raise
        call.ok(asked)
        return result

    return named(moved, original)


def _cut(error: BaseException) -> bool:
    """multiprocessing's words for the end of the stream, before a message or inside one."""
    return type(error) is EOFError or (type(error) is OSError and error.errno is None)


def _ready(descriptor: int, event: int) -> bool:
    poll = _poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))
