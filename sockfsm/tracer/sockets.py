"""The traced sockets of this process: their birth, their identity across `detach` and `dup`, their end.

A socket is found by `id` and never kept alive: a weak reference tells when it is gone. The tables and
who may come between two steps on them: see `tracer.current`.
"""

from __future__ import annotations

import _socket
import select
import socket as _stdlib
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from sockfsm.model.kinds import KINDS, OTHER, kind_of
from sockfsm.record import codec
from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.record.writer import Told
from sockfsm.tracer import current
from sockfsm.tracer.addresses import shown
from sockfsm.tracer.buffers import integer
from sockfsm.tracer.current import Session
from sockfsm.tracer.graves import Grave
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.ongoing import OURS, Ongoing, foreign, outcome_of
from sockfsm.tracer.places import caller
from sockfsm.tracer.rows import Kind, Model, Row, Tracked, compile_kind, head, step, unmodelled
from sockfsm.tracer.witness import facts, states

_family = _socket.socket.family.__get__
_type = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__
_timeout = _socket.socket.gettimeout
_fileno = _socket.socket.fileno
_getsockopt = _socket.socket.getsockopt
_getsockname = _socket.socket.getsockname
_getpeername = _socket.socket.getpeername
_poll = select.poll
_is_subclass = type.__subclasscheck__
_id = id
_DONTWAIT = int(getattr(_stdlib, "MSG_DONTWAIT", 0))
_COOKIE = 57  # SO_COOKIE, socket(7) does not know it: a number that the kernel never uses twice
_RCVLOWAT = _stdlib.SO_RCVLOWAT
_STREAM = int(_stdlib.SOCK_STREAM)

_MOST_PATHS = 10_000
UNBORN = 0
"""The number of a data socket that accept() has not returned yet."""
_BIRTHS = {_stdlib.socketpair.__code__: "socketpair", _stdlib.fromfd.__code__: "fromfd"}


def prepare(session: Session) -> None:
    """Compile every kind now: later the program may have taken away what that needs."""
    for name in (*KINDS, OTHER):
        _kind(session, name)


def _kind(session: Session, name: str) -> Kind:
    found = session.kinds.get(name)
    if found is None:
        found = session.kinds[name] = compile_kind(name, session.machines.get(name))
        note_kind(session, found)
    return found


def _birth(
    session: Session, family: int, type_: int, proto: int, descriptor: int
) -> tuple[Kind, int, int]:
    """(kind, asked, done) of a birth's record."""
    key = family, type_, proto
    found = session.kind_of.get(key)
    if found is None:
        found = _kind(session, kind_of(family, type_, proto))
        if len(session.kind_of) < 1000:
            session.kind_of[key] = found
    return found, *codec.birth(found.number, family, type_, proto, descriptor)


def note_kind(session: Session, found: Kind) -> None:
    """Write down the numbers of a kind's states."""
    session.log.note({"kind": found.number, "name": found.name, "states": found.states})


def is_socket(value: object) -> bool:
    """Whether a traced method can be about this object; its class is asked, not the object."""
    return _is_subclass(_socket.socket, type(value))


def adjust(sock: _stdlib.socket, tracked: Tracked) -> None:
    """Follow the socket object's blocking mode."""
    timeout = _timeout(sock)
    if timeout is None:
        tracked.mode = "blocking"
        tracked.first_try = -1 if tracked.model.lowat else _DONTWAIT
    else:
        tracked.mode = "timeout" if timeout else "nonblocking"
        tracked.first_try = -1 if timeout else 0


def is_stream(sock: _stdlib.socket) -> bool:
    """Whether its bytes have no borders, so that receiving nothing means the end."""
    return bool(_type(sock) & 0xF == _STREAM)


def described(session: Session, sock: _stdlib.socket) -> tuple[Kind, int, int]:
    """(kind, asked, done) of a birth's record."""
    return _birth(session, _family(sock), _type(sock), _proto(sock), _fileno(sock))


def register(session: Session, sock: _stdlib.socket, model: Model) -> Tracked:
    """Let `model` stand for this socket object until the object is gone."""
    key, descriptor = _id(sock), _fileno(sock)
    tracked = Tracked(session, model)
    # Before it can be found: from then on another thread may use it.
    adjust(sock, tracked)
    tracked.grave = session.graves.dig(sock, key, tracked)
    if descriptor >= 0:
        before = session.holders.get(descriptor)
        if before is None or before.model is not model or not before.open:
            model.descriptors += 1
        session.holders[descriptor] = tracked
        if model.cookie == 0:
            session.unasked[key] = tracked
    else:
        tracked.open = False
    session.records[key] = tracked
    return tracked


def bury(session: Session) -> None:
    """Write down the ends of the socket objects that have gone. Before an `id` is looked up: a new
    object may have the same one."""
    while session.gone:
        try:
            grave = session.gone.popleft()
        except IndexError:
            return  # another thread was quicker
        try:
            _collected(session, grave, session.graves.time_of_next())
        except BaseException:
            if grave.tracked is not None:
                session.gone.appendleft(grave)
            raise


def _collected(session: Session, grave: Grave, time: int) -> None:
    tracked = grave.tracked
    if tracked is None or tracked.grave is not grave:
        return
    if session.records.get(grave.key) is tracked:
        del session.records[grave.key]
        session.unasked.pop(grave.key, None)
    if tracked.open and tracked.model.number != UNBORN:
        # Python closes the descriptor of a socket object that nobody holds any more.
        released(tracked, Ongoing(tracked, NUMBER["collected"], None, begin=time), time)
    # They hold each other no more: nothing here waits for the cyclic collector.
    grave.tracked = tracked.grave = None


def released(tracked: Tracked, call: Ongoing, end: int = 0) -> None:
    """The socket object closed its descriptor; the last one that is closed closes the socket.

    end: when, if that is not now.
    """
    model = tracked.model
    tracked.open = False
    model.descriptors -= 1
    if model.descriptors > 0:
        call.ok(outcome="deferred", end=end)
    elif model.waiters:
        # The kernel holds the socket until the last call that is blocked on it has ended.
        model.closing = True
        call.ok(outcome="deferred", end=end)
    else:
        call.ok(end=end)
    if model.descriptors <= 0:
        forget(tracked.session, model)


def forget(session: Session, model: Model) -> None:
    """Nobody of this process holds the socket any more, or knows that it does."""
    session.cookies.pop(model.cookie, None)


class Birth(Told):
    """The call that makes a socket object, until its record is written."""

    __slots__ = ("begin", "end", "frame", "method", "session")

    def __init__(
        self, session: Session, method: int, begin: int, end: int, frame: FrameType | None
    ) -> None:
        super().__init__()
        self.session, self.method, self.frame = session, method, frame
        self.begin, self.end = begin, end

    def ended(self) -> None:
        """The kernel has done its part: from now on it is told, or counted."""
        self.begin_watch(self.session.log)
        self.end = Clocks.monotonic()

    def tell(self, sock: _stdlib.socket, model: Model, bits: int) -> None:
        """Write it down."""
        session = self.session
        _, asked, done = described(session, sock)
        site, thread = session.places.site_of(self.frame), session.me.number
        begin, end = self.begin, self.end
        session.log.tell(self, begin, end, bits, model.number, site, thread, asked, done)


def begin_birth(session: Session) -> Birth | None:
    """A call that may make a socket; None where there is no memory to follow it, which is told."""
    try:
        return Birth(session, NUMBER["adopt"], Clocks.monotonic(), 0, caller(3))
    except OURS as error:
        session.log.marked[0] = 1
        if foreign(error):
            raise
        return None


def born(birth: Birth, sock: _stdlib.socket) -> Tracked:
    """A new socket: model, record, registration."""
    session, method = birth.session, birth.method
    if session.gone:
        bury(session)
    found = described(session, sock)[0]
    row = found.initial
    if session.me.resolved and METHODS[method][1] == "create":
        row = found.row("RESOLVED")
    model = Model(session.number(), row, session.shared)
    tracked = register(session, sock, model)
    bits, model.row = step(row, method, "ok", "", model)
    birth.tell(sock, model, bits)
    return tracked


def stillborn(birth: Birth, error: OSError, numbers: tuple[Any, ...]) -> None:
    """The kernel gave no socket: log the refusal under a model that never gets an object."""
    session = birth.session
    family, type_, proto = map(integer, numbers)
    found, asked, done = _birth(
        session,
        family if family > 0 else int(_stdlib.AF_INET),
        type_ if type_ > 0 else int(_stdlib.SOCK_STREAM),
        max(proto, 0),
        -1,
    )
    bits, _ = step(found.initial, NUMBER["socket"], outcome_of(error, "create")[0], "")
    end, site, thread = Clocks.monotonic(), session.places.site_of(birth.frame), session.me.number
    session.log.write(birth.begin, end, bits, session.number(), site, thread, asked, done)


def claim(birth: Birth, sock: _stdlib.socket) -> None:
    """A socket object was made for a descriptor that exists: find out whose it is."""
    session, frame = birth.session, birth.frame
    bury(session)
    # Its class may make others first: it is the one that the kernel says it is.
    expected = session.me.expected
    if expected is not None and _cookie(sock) == expected.cookie:
        birth.method = NUMBER["dup"]
        _share(birth, sock, expected)
        return
    descriptor = _fileno(sock)
    detached = session.unclaimed.pop(descriptor, None)
    if detached is not None and detached[0].cookie == _cookie(sock):
        model, row = detached
        before = model.row
        if before.gone:
            model.row, model.moves = row, ()
        register(session, sock, model)
        session.cookies[model.cookie] = model
        bits = head(before, model.row, NUMBER["adopt"], "ok")
        birth.tell(sock, model, bits)
        return
    name = _BIRTHS.get(frame.f_code, "adopt") if frame else "adopt"
    birth.method = NUMBER[name]
    if name == "socketpair" and described(session, sock)[0].name in KINDS:
        born(birth, sock)
    else:
        adopt(birth, sock)


def _share(birth: Birth, sock: _stdlib.socket, model: Model) -> Tracked:
    """Another socket object on a socket that is known."""
    tracked = register(birth.session, sock, model)
    birth.tell(sock, model, head(model.row, model.row, birth.method, "ok"))
    return tracked


def met(sock: _stdlib.socket, frame: FrameType | None) -> Tracked:
    """A socket that was made out of our sight, at its first call."""
    now = Clocks.monotonic()
    return adopt(Birth(current.session, NUMBER["adopt"], now, now, frame), sock)


def adopt(birth: Birth, sock: _stdlib.socket) -> Tracked:
    """A socket that was made out of our sight. Its state is read off by calls that change nothing."""
    session, method = birth.session, birth.method
    bury(session)
    cookie = _cookie(sock)
    twin = _known(session, cookie, _fileno(sock))
    if twin is not None:
        return _share(birth, sock, twin)
    found = described(session, sock)[0]
    model = Model(session.number(), situation(session, sock, found))
    model.cookie = cookie
    model.lowat = (_ask(_getsockopt, sock, _stdlib.SOL_SOCKET, _RCVLOWAT) or 1) != 1
    tracked = register(session, sock, model)
    session.cookies[cookie] = model
    birth.tell(sock, model, head(found.initial, model.row, method, "ok"))
    note_names(session, sock, model)
    return tracked


def renumbered(session: Session, descriptor: int, begin: int, frame: FrameType | None) -> None:
    """os.dup2 gave the number to another file: what a socket object had under it is closed, and the
    object goes on with what is there now."""
    tracked = session.holders.get(descriptor)
    sock = tracked.sock() if tracked is not None else None
    if tracked is None or sock is None or not tracked.open or _fileno(sock) != descriptor:
        return
    end = Clocks.monotonic()
    released(tracked, Ongoing(tracked, NUMBER["close"], frame, begin=begin), end)
    cookie = _cookie(sock)
    model = _known(session, cookie, -1)
    if model is None:
        found = described(session, sock)[0] if cookie > 0 else unmodelled()
        model = Model(session.number(), situation(session, sock, found))
        model.cookie = cookie
        if cookie > 0:
            session.cookies[cookie] = model
    tracked.model, tracked.open = model, True
    model.descriptors += 1
    adjust(sock, tracked)
    birth = Birth(session, NUMBER["adopt"], end, end, frame)
    birth.tell(sock, model, head(model.row, model.row, birth.method, "ok"))


def _ask(question: Callable[..., object], *arguments: object) -> object:
    try:
        return question(*arguments)
    except OSError as error:
        if from_handler(error):
            raise
        return None  # the refusal is the answer: not connected, not open


def _cookie(sock: _stdlib.socket) -> int:
    """The kernel's own number of a socket, -1 where it does not say."""
    cookie = _ask(_getsockopt, sock, _stdlib.SOL_SOCKET, _COOKIE, 8)
    return int.from_bytes(cookie, sys.byteorder) if isinstance(cookie, bytes) else -1


def _known(session: Session, cookie: int, descriptor: int) -> Model | None:
    """The model of a kernel socket that another object holds as well."""
    if cookie <= 0:
        return None
    holder = session.holders.get(descriptor)
    # Most often the other object has the same descriptor. Each of the others is asked once in its life.
    if holder is not None and _asked(holder) == cookie:
        return holder.model
    while cookie not in session.cookies:
        try:
            _asked(session.unasked.popitem()[1])
        except KeyError:
            return None
    return session.cookies[cookie]


def _asked(tracked: Tracked) -> int:
    """The cookie of a socket object's socket, 0 when the object has none any more."""
    sock, model = tracked.sock(), tracked.model
    if sock is None or not tracked.open:
        return 0
    # Not what was found before: the descriptor may be another socket's by now.
    cookie = _cookie(sock)
    if not model.cookie:
        model.cookie = cookie
        tracked.session.cookies[cookie] = model
    return cookie if cookie == model.cookie else 0


def gives_away(sock: _stdlib.socket, tracked: Tracked) -> None:
    """Before `detach` and `dup`: ask for the number by which the kernel tells it from other sockets."""
    model = tracked.model
    if not model.cookie:
        model.cookie = _cookie(sock)
        if tracked.open:
            tracked.session.cookies[model.cookie] = model


def situation(session: Session, sock: _stdlib.socket, found: Kind) -> Row:
    """The states that an unknown socket may be in, by what the kernel shows of it, likeliest first."""
    seen = facts(sock)
    if seen is None:
        return found.closed
    if seen.listening:
        likely = found.row("LISTENING")
    elif seen.connected:
        likely = found.row("CONNECTED", "BOUND", "CREATED")
    else:
        likely = found.row("BOUND" if seen.named else "CREATED")
    key = found.name, likely.state, seen
    row = session.situations.get(key) if found.compiled is not None else likely
    if row is None:
        others = (state for state in states(found, seen) if state != likely.state)
        row = session.situations[key] = found.among("|".join((likely.state, *others)))
    return row


def objects(session: Session, model: Model) -> Iterator[_stdlib.socket]:
    """The living socket objects of a model."""
    bury(session)
    for key in list(session.records):
        tracked = session.records.get(key)
        if tracked is not None and tracked.model is model and (sock := tracked.sock()) is not None:
            yield sock


def note_path(session: Session, path: object, model: Model) -> None:
    """Remember who made a UNIX path."""
    if len(session.paths) >= _MOST_PATHS:
        session.paths.clear()
    session.paths[path] = model


def note_names(session: Session, sock: _stdlib.socket, model: Model) -> None:
    """Write down both names of a socket."""
    local, remote = _ask(_getsockname, sock), _ask(_getpeername, sock)
    session.log.note({"socket": model.number, "local": shown(local), "remote": shown(remote)})


def tracked_by(sock: _stdlib.socket) -> Tracked:
    """What is known of a socket object, adopted if need be."""
    session = current.session
    if session.gone:
        bury(session)
    tracked = session.records.get(_id(sock))
    return met(sock, caller()) if tracked is None else tracked
