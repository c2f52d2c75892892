"""The traced sockets of this process: their birth, their identity across `detach` and `dup`, their end.

A socket is found by `id`, never held: a weak reference tells when it is gone.
"""

from __future__ import annotations

import _socket
import itertools
import select
import socket as _stdlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING
from weakref import ref

from sockfsm.model.kinds import KINDS, kind_of
from sockfsm.record.layout import METHODS, MOST, NUMBER
from sockfsm.tracer.finish import finished, put
from sockfsm.tracer.recorder import clock, log, me, site_of
from sockfsm.tracer.rows import Kind, Row, Tracked, compile_kind, head

_family = _socket.socket.family.__get__
_type = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__
_timeout = _socket.socket.gettimeout
_fileno = _socket.socket.fileno
_getsockopt = _socket.socket.getsockopt
_getsockname = _socket.socket.getsockname
_getpeername = _socket.socket.getpeername
_DONTWAIT = int(getattr(_stdlib, "MSG_DONTWAIT", 0))
_COOKIE = 57  # SO_COOKIE, socket(7) does not know it: a number that the kernel never uses twice

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine

records: dict[int, Tracked] = {}
"""id(socket object) -> its model. Two objects share one after `dup`."""
unclaimed: dict[int, tuple[Tracked, Row]] = {}
"""descriptor -> (model, its row) of one that `detach` took from its socket object."""
paths: dict[object, Tracked] = {}
"""UNIX path -> who bound it last."""
kinds: dict[str, Kind] = {}
_kind_of: dict[tuple[int, int, int], tuple[Kind, int, int]] = {}
_graves: dict[int, _Grave] = {}
_numbers = itertools.count(1)
_machines: dict[str, SocketMachine] = {}

_BIRTHS = {_stdlib.socketpair.__code__: "socketpair", _stdlib.fromfd.__code__: "fromfd"}


class _Grave(ref[_stdlib.socket]):
    """A weak reference that knows which socket object it was."""

    __slots__ = ("key",)
    key: int


def reset(machines: Mapping[str, SocketMachine] | None = None) -> None:
    """Drop all models and number anew: a new session adopts what is still open.

    machines: kind -> a `transitions` machine to use in place of the shared one.
    """
    global _numbers, _machines
    _numbers, _machines = itertools.count(1), dict(machines or {})
    for table in (records, unclaimed, paths, kinds, _kind_of, _graves):
        table.clear()


def number() -> int:
    """The next socket's number in this process's log."""
    return next(_numbers)


def kind(family: int, type_: int, proto: int) -> tuple[Kind, int, int]:
    """The kind of a socket, its rows compiled and its states noted when first met.

    With it, `asked` of a birth's record, and `done` without the descriptor.
    """
    key = family, type_, proto
    known = _kind_of.get(key)
    if known is None:
        name = kind_of(family, type_, proto)
        found = kinds.get(name)
        if found is None:
            found = kinds[name] = compile_kind(name, _machines.get(name))
            note_kind(found)
        asked = family & 0xFF | (type_ & 0xF) << 8 | found.number << 16
        known = _kind_of[key] = found, asked, (proto & 0xFFFF) << 32
    return known


def note_kind(found: Kind) -> None:
    """Write down the numbers of a kind's states."""
    log.note({"kind": found.number, "name": found.name, "states": found.states})


def adjust(sock: _stdlib.socket, tracked: Tracked) -> None:
    """Follow the socket's blocking mode."""
    timeout = _timeout(sock)
    tracked.first_try = _DONTWAIT if timeout is None else -1 if timeout else 0


def numbers_of(sock: _stdlib.socket) -> tuple[int, int, int]:
    """(family, type, protocol) as plain integers, which `socket.family` is not."""
    return _family(sock), _type(sock), _proto(sock)


def described(sock: _stdlib.socket) -> tuple[Kind, int, int]:
    """(kind, asked, done) of a birth's record."""
    found, asked, done = kind(_family(sock), _type(sock), _proto(sock))
    return found, asked, done | _fileno(sock) & MOST


def register(sock: _stdlib.socket, tracked: Tracked) -> None:
    """Let `tracked` stand for this socket object until the object is gone."""
    key = id(sock)
    records[key] = tracked
    grave = _graves[key] = _Grave(sock, _collected)
    grave.key = key
    adjust(sock, tracked)


def part(sock: _stdlib.socket) -> None:
    """`sock` holds its descriptor no more; another object that shares the model does."""
    records.pop(id(sock), None)
    _graves.pop(id(sock), None)


def _collected(grave: ref[_stdlib.socket]) -> None:
    assert isinstance(grave, _Grave)
    if _graves.get(grave.key) is not grave:
        return
    del _graves[grave.key]
    tracked = records.pop(grave.key)
    if tracked.row.state not in ("CLOSED", "CLOSED_PATH_LEFT", "DETACHED", "EXITED"):
        now = clock()
        released(tracked, NUMBER["collected"], now, now)


def released(
    tracked: Tracked, method: int, begin: int, end: int, frame: FrameType | None = None
) -> None:
    """One descriptor of the socket is closed; the last one closes the socket."""
    tracked.descriptors -= 1
    if tracked.descriptors <= 0:
        put(tracked, method, begin, end, frame)
    else:
        finished(tracked, method, "deferred", begin, end, 0, 0, False, frame)


def born(
    sock: _stdlib.socket, method: int, begin: int, end: int, frame: FrameType | None
) -> Tracked:
    """A new socket: model, record, registration."""
    found, asked, done = described(sock)
    row = found.initial
    if me.resolved and METHODS[method][1] == "create":
        row = found.row("RESOLVED")
    tracked = Tracked(number(), row)
    put(tracked, method, begin, end, frame, asked, done)
    register(sock, tracked)
    return tracked


def claim(sock: _stdlib.socket, begin: int, end: int, frame: FrameType | None) -> None:
    """A socket object was made for a descriptor that exists: find out whose it is."""
    if me.expected is not None:
        _share(sock, me.expected, "dup", begin, end, frame)
        return
    found = unclaimed.pop(_fileno(sock), None)
    if found is None:
        name = _BIRTHS.get(frame.f_code, "adopt") if frame else "adopt"
        if name == "socketpair" and described(sock)[0].name in KINDS:
            born(sock, NUMBER[name], begin, end, frame)
        else:
            adopt(sock, NUMBER[name], begin, end, frame)
        return
    tracked, row = found
    before, tracked.row = tracked.row, row
    _, asked, done = described(sock)
    bits = head(before, row, NUMBER["adopt"], "ok")
    log.write(begin, end, bits, tracked.number, site_of(frame), me.number, asked, done)
    register(sock, tracked)


def _share(
    sock: _stdlib.socket,
    tracked: Tracked,
    name: str,
    begin: int,
    end: int,
    frame: FrameType | None,
) -> None:
    if all(_fileno(other) != _fileno(sock) for other in objects(tracked)):
        tracked.descriptors += 1
    bits = head(tracked.row, tracked.row, NUMBER[name], "ok")
    _, asked, done = described(sock)
    log.write(begin, end, bits, tracked.number, site_of(frame), me.number, asked, done)
    register(sock, tracked)


def adopt(
    sock: _stdlib.socket,
    method: int = NUMBER["adopt"],
    begin: int = 0,
    end: int = 0,
    frame: FrameType | None = None,
) -> Tracked:
    """A socket that was made out of our sight. Its state is read off by calls that change nothing."""
    begin, end = begin or clock(), end or clock()
    frame = frame or sys._getframe(2)
    twin = _twin(sock)
    if twin is not None:
        _share(sock, twin, METHODS[method][0], begin, end, frame)
        return twin
    found, asked, done = described(sock)
    tracked = Tracked(number(), found.row(*_situation(sock)))
    bits = head(found.initial, tracked.row, method, "ok")
    register(sock, tracked)
    log.write(begin, end, bits, tracked.number, site_of(frame), me.number, asked, done)
    note_names(sock, tracked)
    return tracked


def _ask(question: Callable[..., object], *arguments: object) -> object:
    try:
        return question(*arguments)
    except OSError:
        return None  # the refusal is the answer: not connected, not open


def _twin(sock: _stdlib.socket) -> Tracked | None:
    """The model of another socket object on the same kernel socket."""
    cookie = _ask(_getsockopt, sock, _stdlib.SOL_SOCKET, _COOKIE, 8)
    if cookie is None:
        return None
    for key, grave in list(_graves.items()):
        other = grave()
        if other is None or other is sock or key not in records:
            continue
        if _ask(_getsockopt, other, _stdlib.SOL_SOCKET, _COOKIE, 8) == cookie:
            return records[key]
    return None


def _situation(sock: _stdlib.socket) -> tuple[str, ...]:
    """The likely states of an unknown socket, best first."""
    if _fileno(sock) < 0:
        return ("CLOSED",)
    if _ask(_getsockopt, sock, _stdlib.SOL_SOCKET, getattr(_stdlib, "SO_ACCEPTCONN", 30)):
        return ("LISTENING",)
    if _ask(_getpeername, sock) is not None:
        return ("CONNECTED", "BOUND", "CREATED")
    name = _ask(_getsockname, sock)
    bound = bool(name[1]) if isinstance(name, tuple) and len(name) > 1 else bool(name)
    return ("BOUND", "CREATED") if bound else ("CREATED",)


def objects(tracked: Tracked) -> Iterator[_stdlib.socket]:
    """The living socket objects of a model."""
    for key, grave in list(_graves.items()):
        if records.get(key) is tracked and (sock := grave()) is not None:
            yield sock


def note_names(sock: _stdlib.socket, tracked: Tracked) -> None:
    """Write down both names of a socket."""
    local, remote = _ask(_getsockname, sock), _ask(_getpeername, sock)
    log.note({"socket": tracked.number, "local": local or None, "remote": remote or None})


def ready(sock: _stdlib.socket, event: int) -> bool:
    """Whether a call that needs `event` (POLLIN, POLLOUT) would go on at once."""
    poll = select.poll()
    try:
        poll.register(_fileno(sock), event)
    except (ValueError, OSError):
        return True  # closed: the call itself says so
    return bool(poll.poll(0))


def tracked_by(sock: _stdlib.socket) -> Tracked:
    """The model of a socket, adopted if need be."""
    tracked = records.get(id(sock))
    return adopt(sock) if tracked is None else tracked


def blocks(tracked: Tracked) -> bool:
    """Whether its calls wait, for ever or until a timeout."""
    return tracked.first_try != 0
