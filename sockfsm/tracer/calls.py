"""The other methods of a socket, traced: naming, connecting, messages, shutting down, closing."""

from __future__ import annotations

import _socket
import os
import resource
import socket as _stdlib
from collections.abc import Callable
from errno import EAGAIN
from select import POLLIN
from sys import _getframe
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.tracer.adapters import adapt
from sockfsm.tracer.finish import failed, finished, outcome_of, put
from sockfsm.tracer.messages import message_receiver, message_sender, sendfile
from sockfsm.tracer.recorder import begin_wait, clock, end_wait, log, me, packed, site_of
from sockfsm.tracer.rows import Tracked, step
from sockfsm.tracer.sockets import (
    adjust,
    blocks,
    born,
    claim,
    kind,
    note_names,
    number,
    numbers_of,
    objects,
    part,
    paths,
    ready,
    released,
    tracked_by,
    unclaimed,
)
from sockfsm.tracer.transfer import Socket, filler, receiver, sender

Method = Callable[..., Any]
_base = _socket.socket
_plain: dict[str, Any] = {
    name: _stdlib.socket.__dict__.get(name) or getattr(_base, name)
    for name in (
        "__init__",
        "_real_close",
        "bind",
        "close",
        "connect",
        "connect_ex",
        "detach",
        "dup",
        "getsockopt",
        "listen",
        "setblocking",
        "settimeout",
        "shutdown",
    )
}
_getsockname = _base.getsockname
_fileno = _base.fileno
_THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
ACCEPT = NUMBER["accept"]
ACCEPTED = NUMBER["accepted"]
CLOSE = NUMBER["close"]
_plain_close = _plain["close"]
_plain_real_close = _plain["_real_close"]
_plain_init = _plain["__init__"]
_plain_accept: Any = _base._accept  # type: ignore[attr-defined]
_timeout = _base.gettimeout
SHUTDOWN = {
    int(_stdlib.SHUT_RD): NUMBER["shutdown(SHUT_RD)"],
    int(_stdlib.SHUT_WR): NUMBER["shutdown(SHUT_WR)"],
    int(_stdlib.SHUT_RDWR): NUMBER["shutdown(SHUT_RDWR)"],
}


def init(
    self: Socket, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
) -> None:
    begin, frame = clock(), _getframe(1)
    try:
        _plain_init(self, family, type, proto, fileno)
    except OSError as error:
        if fileno is None:
            _stillborn(error, family, type, proto, begin, frame)
        raise
    end = clock()
    if fileno is None:
        if unclaimed:
            unclaimed.pop(_fileno(self), None)
        born(self, NUMBER["socket"], begin, end, frame)
    else:
        # ssl and multiprocessing may have been imported since tracing began.
        adapt()
        claim(self, begin, end, frame)


def _stillborn(error: OSError, family: int, type_: int, proto: int, begin: int, frame: Any) -> None:
    """The kernel gave no socket: log the refusal under a model that never gets an object."""
    family, type_, proto = (
        max(int(family), 0) or _stdlib.AF_INET,
        max(int(type_), 0) or _stdlib.SOCK_STREAM,
        max(int(proto), 0),
    )
    found, asked, _ = kind(family, type_, proto)
    tracked = Tracked(number(), found.initial)
    bits = step(tracked, NUMBER["socket"], outcome_of(error, "create")[0])
    site = site_of(frame)
    log.write(begin, clock(), bits, tracked.number, site, me.number, asked, 0xFFFFFFFF)


def bind(self: Socket, address: Any, /) -> None:
    tracked, frame, begin = tracked_by(self), _getframe(1), clock()
    method = NUMBER["bind"]
    try:
        _plain["bind"](self, address)
    except BaseException as error:
        failed(tracked, method, error, begin, clock(), 0, False, frame, packed(address))
        raise
    end = clock()
    if me.missing is not None:
        _missing_before(tracked, address)
    me.resolved = False
    if isinstance(address, tuple):
        # The kernel's answer: the port it chose for 0, the number of a host name.
        name = packed(address, _getsockname(self))
    elif _abstract(address):
        form, _, done = packed(address)
        bits = step(tracked, method, "ok", "abstract") | form
        log.write(begin, end, bits, tracked.number, site_of(frame), me.number, 0, done)
        return
    else:
        name = packed(address)
        paths[_path(address)] = tracked
    finished(tracked, method, "ok", begin, end, 0, 0, False, frame, name)
    if isinstance(address, tuple) and not name[1]:
        note_names(self, tracked)


def _abstract(address: Any) -> bool:
    """Whether a UNIX name is in the kernel alone: it begins with a zero, or the kernel chose it."""
    return isinstance(address, (str, bytes)) and address[:1] in ("", b"", "\0", b"\0")


def _path(address: Any) -> Any:
    return os.fsencode(address) if isinstance(address, str) else bytes(address)


def _missing_before(tracked: Tracked, address: Any) -> None:
    """An unlink that found nothing, just before this bind to the same path, was the removal of a
    stale name: log it now that this is known."""
    missing, me.missing = me.missing, None
    if missing is None or isinstance(address, tuple) or os.fsencode(missing[0]) != _path(address):
        return
    row = tracked.row.kind.initial
    bits = step(Tracked(tracked.number, row), NUMBER["unlink"], "ENOENT")
    form, _, done = packed(missing[0])
    log.write(missing[1], missing[2], bits | form, 0, missing[3], me.number, 0, done)


def listen(self: Socket, backlog: Any = None, /) -> None:
    tracked, frame, begin = tracked_by(self), _getframe(1), clock()
    method, asked = NUMBER["listen"], backlog if isinstance(backlog, int) else 0
    unbound = tracked.row.state == "CREATED"
    try:
        _plain["listen"](self, *(() if backlog is None else (backlog,)))
    except BaseException as error:
        failed(tracked, method, error, begin, clock(), max(asked, 0), False, frame)
        raise
    finished(tracked, method, "ok", begin, clock(), max(asked, 0), 0, False, frame)
    if unbound:
        note_names(self, tracked)


def accept(self: Socket) -> tuple[Socket, Any]:
    """`socket.accept`, whole: the data socket is registered as it is made."""
    tracked, frame, waited = tracked_by(self), _getframe(1), False
    begin = clock()
    if blocks(tracked) and not ready(self, POLLIN):
        waited = True
        begin_wait(tracked, ACCEPT, 0, frame)
    try:
        descriptor, address = _plain_accept(self)
    except BaseException as error:
        failed(tracked, ACCEPT, error, begin, clock(), 0, waited, frame)
        raise
    finally:
        if waited:
            end_wait()
    end = clock()
    finished(tracked, ACCEPT, "ok", begin, end, 0, 0, waited, frame, packed(address or None))
    maker = getattr(self, "data_class", _stdlib.socket)
    family, type_, proto = numbers_of(self)
    data = maker.__new__(maker)
    _plain_init(data, family, type_, proto, descriptor)
    born(data, ACCEPTED, end, end, frame)
    # As in the standard library: a timeout of the listening socket is not inherited.
    if _stdlib.getdefaulttimeout() is None and _timeout(self):
        data.setblocking(True)
    return data, address


def connector(name: str) -> Method:
    """The traced `connect` or `connect_ex`."""
    method, original = NUMBER[name], _plain[name]

    def connect(self: Socket, address: Any, /) -> Any:
        tracked, frame = tracked_by(self), _getframe(1)
        may_wait = blocks(tracked)
        if may_wait:
            sleeps = resource.getrusage(_THREAD).ru_nvcsw
            begin_wait(tracked, method, 0, frame)
        begin = clock()
        try:
            result = original(self, address)
        except BaseException as error:
            end = clock()
            waited = may_wait and resource.getrusage(_THREAD).ru_nvcsw > sleeps
            name = _ends(self, tracked, address, error)
            failed(tracked, method, error, begin, end, 0, waited, frame, name)
            raise
        finally:
            if may_wait:
                end_wait()
        end = clock()
        # Nothing tells in advance whether connect will wait: the kernel counts a thread's sleeps.
        waited = may_wait and resource.getrusage(_THREAD).ru_nvcsw > sleeps
        refusal = OSError(result, "") if result else None
        if refusal is not None and tracked.first_try < 0 and result == EAGAIN:
            refusal = TimeoutError()
        name = _ends(self, tracked, address, refusal)
        if refusal is not None:
            failed(tracked, method, refusal, begin, end, 0, waited, frame, name)
            return result
        me.resolved = False
        finished(tracked, method, "ok", begin, end, 0, 0, waited, frame, name)
        if isinstance(address, tuple) and not name[1]:
            note_names(self, tracked)
        return result

    return connect


def _ends(
    sock: Socket, tracked: Tracked, address: Any, error: BaseException | None
) -> tuple[int, int, int]:
    """Both ends of a connection: the kernel has given a local name unless it refused."""
    if not isinstance(address, tuple) or (error and not isinstance(error, BlockingIOError)):
        return packed(address)
    local = _getsockname(sock)
    if error is not None and len(address) != 2:
        note_names(sock, tracked)
    return packed(address, local if len(address) == 2 else None)


def shutdown(self: Socket, how: int, /) -> None:
    tracked, frame, begin = tracked_by(self), _getframe(1), clock()
    try:
        method = SHUTDOWN[int(how)]
    except (KeyError, TypeError, ValueError):
        return _plain["shutdown"](self, how)  # type: ignore[no-any-return]
    try:
        _plain["shutdown"](self, how)
    except BaseException as error:
        failed(tracked, method, error, begin, clock(), int(how), False, frame)
        raise
    return finished(tracked, method, "ok", begin, clock(), int(how), 0, False, frame)


def getsockopt(self: Socket, level: int, option: int, *size: int) -> Any:
    """Only SO_ERROR is a call of the machine: it takes the pending error away."""
    if level != _stdlib.SOL_SOCKET or option != _stdlib.SO_ERROR or size:
        return _plain["getsockopt"](self, level, option, *size)
    tracked, frame, begin = tracked_by(self), _getframe(1), clock()
    method = NUMBER["getsockopt(SO_ERROR)"]
    try:
        value = _plain["getsockopt"](self, level, option)
    except BaseException as error:
        failed(tracked, method, error, begin, clock(), 0, False, frame)
        raise
    if value:
        failed(tracked, method, OSError(value, ""), begin, clock(), 0, False, frame)
    else:
        finished(tracked, method, "ok", begin, clock(), 0, 0, False, frame)
    return value


def close(self: Socket) -> None:
    """The logical close; with `makefile` objects open nothing is closed yet."""
    if self._io_refs > 0 and not self._closed:  # type: ignore[attr-defined]
        tracked, now = tracked_by(self), clock()
        finished(tracked, CLOSE, "deferred", now, now, 0, 0, False, _getframe(1))
        _plain_close(self)
    elif type(self)._real_close is real_close:  # type: ignore[attr-defined]
        self._closed = True  # type: ignore[attr-defined]
        _end(self, _getframe(1))
    else:
        _plain_close(self)


def real_close(self: Socket, *args: Any) -> None:
    """The real close: the descriptor goes back to the kernel."""
    _end(self, _getframe(1), *args)


def _end(self: Socket, frame: Any, *args: Any) -> None:
    tracked = tracked_by(self)
    again = _fileno(self) < 0
    begin = clock()
    try:
        _plain_real_close(self, *args)
    except BaseException as error:
        failed(tracked, CLOSE, error, begin, clock(), 0, False, frame)
        raise
    end = clock()
    if again:
        put(tracked, CLOSE, begin, end, frame)
    else:
        released(tracked, CLOSE, begin, end, frame)


def detach(self: Socket) -> int:
    tracked, frame, begin = tracked_by(self), _getframe(1), clock()
    adapt()
    row = tracked.row
    descriptor: int = _plain["detach"](self)
    if descriptor >= 0 and any(_fileno(other) == descriptor for other in objects(tracked)):
        # ssl makes its own object on the same descriptor: that one goes on with the model.
        part(self)
        finished(tracked, NUMBER["detach"], "deferred", begin, clock(), 0, 0, False, frame)
    elif descriptor >= 0:
        finished(tracked, NUMBER["detach"], "ok", begin, clock(), 0, 0, False, frame)
        unclaimed[descriptor] = tracked, row
    return descriptor


def dup(self: Socket) -> Socket:
    tracked = tracked_by(self)
    me.expected = tracked
    try:
        twin: Socket = _plain["dup"](self)
    finally:
        me.expected = None
    return twin


def moded(name: str) -> Method:
    """`settimeout` or `setblocking`, followed."""
    original = _plain[name]

    def change(self: Socket, value: Any, /) -> None:
        original(self, value)
        adjust(self, tracked_by(self))

    return change


METHODS_TRACED: dict[str, Method] = {
    "__init__": init,
    "bind": bind,
    "listen": listen,
    "accept": accept,
    "connect": connector("connect"),
    "connect_ex": connector("connect_ex"),
    "send": sender("send"),
    "sendall": sender("sendall"),
    "sendto": message_sender("sendto"),
    "sendmsg": message_sender("sendmsg"),
    "_sendfile_use_sendfile": sendfile,
    "recv": receiver(),
    "recv_into": filler(),
    "recvfrom": message_receiver("recvfrom"),
    "recvfrom_into": message_receiver("recvfrom_into"),
    "recvmsg": message_receiver("recvmsg"),
    "recvmsg_into": message_receiver("recvmsg_into"),
    "shutdown": shutdown,
    "getsockopt": getsockopt,
    "close": close,
    "_real_close": real_close,
    "detach": detach,
    "dup": dup,
    "setblocking": moded("setblocking"),
    "settimeout": moded("settimeout"),
}
"""Attribute of `socket.socket` -> what stands in its place while it is traced."""

for _name, _method in METHODS_TRACED.items():
    _original = _stdlib.socket.__dict__.get(_name) or getattr(_base, _name)
    _method.__name__ = _original.__name__
    _method.__qualname__ = _original.__qualname__
    _method.__doc__ = _original.__doc__
