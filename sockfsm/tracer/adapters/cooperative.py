"""The methods of socket classes that are not `socket.socket`, traced.

A cooperative library tries a call, goes back to its hub when the kernel would block, and tries again.
What the program called is one call, from its beginning to its end; it waited when it went to the hub.
Whatever the library calls meanwhile on the same socket, in the same greenlet, belongs to it.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from errno import EAGAIN
from functools import partial
from select import POLLIN, POLLOUT
from types import CodeType, FrameType
from typing import Any
from weakref import ref

from sockfsm.record.clocks import Clocks
from sockfsm.record.codec import Address
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.tracer import current
from sockfsm.tracer.adapters.standing_in import caller, named
from sockfsm.tracer.adapters.tls_ends import answers, ended, judged
from sockfsm.tracer.begun import will_wait
from sockfsm.tracer.buffers import UNKNOWN, all_octets, integer, octets
from sockfsm.tracer.current import Session
from sockfsm.tracer.flags import flags_of, words_of
from sockfsm.tracer.ongoing import Ongoing
from sockfsm.tracer.rows import Tracked
from sockfsm.tracer.sockets import (
    Birth,
    born,
    bury,
    claim,
    gives_away,
    is_socket,
    is_stream,
    met,
    note_names,
    note_path,
    released,
    stillborn,
)

Method = Callable[..., Any]
_fileno = _socket.socket.fileno
_getsockname = _socket.socket.getsockname
_ACCEPT = NUMBER["accept"]
_CLOSE = NUMBER["close"]
_SO_ERROR = NUMBER["getsockopt(SO_ERROR)"]
_SHUTDOWN = {how: NUMBER[f"shutdown(SHUT_{end})"] for how, end in enumerate(("RD", "WR", "RDWR"))}
_NOWHERE = (0, 0, 0)
_NO_PATH = "", b"", "\0", b"\0"


class Library:
    """How a library's socket objects hold the kernel's socket.

    inner: the `_socket.socket` of an object, None when it is closed. timeout: what its calls go by,
    as `gettimeout` gives it. cancelled: exceptions by which another greenlet, not the kernel, ends
    a call. polls: its calls block in the kernel, so poll(2) tells who will wait.
    """

    def __init__(
        self,
        inner: Callable[[Any], Any],
        timeout: Callable[[Any], float | None],
        cancelled: tuple[type[BaseException], ...] = (),
        *,
        polls: bool = False,
    ) -> None:
        self.inner, self.timeout, self.cancelled = inner, timeout, cancelled
        self.polls = polls


class _CancelledError(Exception):
    """What a call is logged with that the library broke off: no refusal of the kernel's."""


class _Grave(ref[Any]):
    __slots__ = ("key", "outer")
    key: int
    outer: dict[int, tuple[Tracked, ref[Any]]]


finalizers: set[CodeType] = set()
"""Code that closes what may be closed already: that is no call of the program's."""


def _gone(grave: ref[Any]) -> None:
    assert isinstance(grave, _Grave)
    known = grave.outer.get(grave.key)
    if known is not None and known[1] is grave:
        del grave.outer[grave.key]


def _remember(sock: Any, tracked: Tracked) -> Tracked:
    grave = _Grave(sock, _gone)
    grave.key, grave.outer = id(sock), tracked.session.outer
    grave.outer[grave.key] = tracked, grave
    return tracked


def _recorded(inner: Any) -> Tracked | None:
    """What is known of a kernel's socket's object. One that is gone may have had the same address."""
    session = current.session
    if session.gone:
        bury(session)
    return session.records.get(id(inner))


def _tracked(library: Library, sock: Any, frame: FrameType | None) -> Tracked | None:
    """What is known of a socket object; None for one that never had a socket."""
    known = current.session.outer.get(id(sock))
    if known is not None:
        return known[0]
    inner = library.inner(sock)
    if inner is None:
        return None
    tracked = _recorded(inner) or met(inner, frame)
    return tracked if inner is sock else _remember(sock, tracked)


def running_on(sock: Any) -> bool:
    """Whether the program is in a call on `sock` here: what comes now is a part of that."""
    session = current.session
    running = session.running.get(session.me.number)
    return running is not None and (running[0] is sock or _recorded(sock) is running[1].tracked)


def traced(
    library: Library,
    original: Method,
    name: str,
    applies: Callable[[Any], bool] | None = None,
) -> Method:
    """`original`, logged as `name`: one record, whatever it takes."""
    method = NUMBER.get(name, 0)
    word = METHODS[method][1]
    event = POLLIN if word in ("recv", "accept") else POLLOUT

    def traced_call(self: Any, *args: Any, **named: Any) -> Any:
        if running_on(self) or (applies is not None and not applies(self)):
            return original(self, *args, **named)
        frame = caller()
        number = method or _number(name, args)
        tracked = _tracked(library, self, frame) if number else None
        if tracked is None:
            return original(self, *args, **named)
        asked, address = _asked(name, args, named)
        session, timeout = tracked.session, library.timeout(self)
        lane = session.me.number
        mode = "blocking" if timeout is None else "timeout" if timeout else "nonblocking"
        outer, before, tracked.mode = session.running.get(lane), tracked.mode, mode
        call = Ongoing(tracked, number, frame, asked)
        itself = answers(self._sslobj, name, asked) if applies is has_tls else ""
        session.running[lane] = self, call
        if library.polls and word in ("recv", "send", "accept") and will_wait(call, self, event):
            call.waits()
        try:
            result = original(self, *args, **named)
        except BaseException as error:
            _leave(session, lane, outer)
            tracked.mode = mode
            _failed(library, call, self, address, error, words_of(flags_of(number, args), asked))
            raise
        finally:
            tracked.mode = before
        _leave(session, lane, outer)
        tracked.mode = mode
        words = itself or words_of(flags_of(number, args), asked)
        _ok(library, call, self, address, result, words)
        tracked.mode = before
        return result

    return named(traced_call, original)


def _leave(session: Session, lane: int, outer: tuple[Any, Ongoing] | None) -> None:
    if outer is None:
        session.running.pop(lane, None)
    else:
        session.running[lane] = outer


def waiter(original: Method) -> Method:
    """`original`, by which a library's call goes to the hub: from then on the call waits."""

    def wait(*args: Any, **named: Any) -> Any:
        session = current.session
        running = session.running.get(session.me.number)
        if running is not None and args and args[0] is running[0]:
            running[1].waits()
        return original(*args, **named)

    return named(wait, original)


def _number(name: str, args: tuple[Any, ...]) -> int:
    """The number of a method that an argument decides; 0 for a call that the machine has not."""
    numbers = tuple(map(integer, args))
    if name == "shutdown" and len(numbers) == 1:
        return _SHUTDOWN.get(numbers[0], 0)
    asks = name == "getsockopt" and numbers == (_socket.SOL_SOCKET, _socket.SO_ERROR)
    return _SO_ERROR if asks else 0


def _asked(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[int, Any]:
    """(bytes, backlog or `how`; address) of the arguments, whoever is to refuse them."""
    first = args[0] if args else next(iter(named.values()), None)
    if name in ("bind", "connect", "connect_ex"):
        return 0, first
    if name == "sendto":
        return octets(first), args[-1] if len(args) > 1 else None
    if name == "sendmsg":
        return all_octets(first), args[3] if len(args) > 3 else None
    if (size := integer(first)) != UNKNOWN:
        return size, None
    if len(args) > 1 and (wanted := integer(args[1])) > 0 and name.startswith("recv"):
        return wanted, None
    return (all_octets if name == "recvmsg_into" else octets)(first), None


def _failed(
    library: Library, call: Ongoing, sock: Any, address: Any, error: BaseException, words: str
) -> None:
    inner, (name, word) = library.inner(sock), METHODS[call.method]
    told = _CancelledError() if isinstance(error, library.cancelled) else error
    judgement = judged(told, word == "recv", inner) if name.startswith("ssl.") else told
    if judgement is None:
        call.ok(outcome="eof")
    else:
        call.failed(judgement, lambda: _form(call, inner, address, judgement), words)


def _ok(library: Library, call: Ongoing, sock: Any, address: Any, result: Any, words: str) -> None:
    name, word = METHODS[call.method]
    inner, addresses = library.inner(sock), call.session.addresses
    if result and (call.method == _SO_ERROR or name == "connect_ex"):
        late = result == EAGAIN and call.tracked.mode == "timeout"
        refusal = TimeoutError() if late else OSError(result, "")
        call.failed(refusal, lambda: _form(call, inner, address, refusal), words)
        return
    form, done, outcome = _form(call, inner, address, None), 0, "ok"
    if word == "send":
        # What gives no number has sent all.
        done = result if type(result) is int else max(call.asked, 0)
    elif word == "recv":
        first = result[0] if type(result) is tuple else result
        done = first if type(first) is int else len(first)
        if not done and call.asked and inner is not None and is_stream(inner):
            outcome = "eof" if name != "ssl.read" or ended(inner) else "ok"
        form = addresses.noted(result[-1]) if type(result) is tuple else form
    elif word == "accept":
        form = addresses.packed(result[1] or None)
    call.ok(done, lambda: form, outcome, words)
    if word == "accept":
        _accepted(call.session, library, result[0], call.frame)
    elif word == "bind" and type(address) in (str, bytes) and address[:1] not in _NO_PATH:
        note_path(
            call.session, address.encode() if type(address) is str else address, call.tracked.model
        )
    elif (
        type(address) is tuple and word in ("bind", "connect") and inner is not None and not form[1]
    ):
        note_names(call.session, inner, call.tracked.model)


def _form(call: Ongoing, inner: Any, address: Any, error: BaseException | None) -> Address:
    """The address of a record, with the name that the kernel gave to our end."""
    word, packed = METHODS[call.method][1], call.session.addresses.packed
    if address is None:
        return _NOWHERE
    if word == "send":
        return call.session.addresses.noted(address)
    going = error is None or isinstance(error, BlockingIOError)
    if inner is None or not going or type(address) is not tuple:
        return packed(address)
    try:
        return packed(address, _getsockname(inner) if len(address) == 2 else None)
    except OSError:
        return packed(address)  # closed meanwhile


def _accepted(session: Session, library: Library, data: Any, frame: FrameType | None) -> None:
    """The birth of a data socket. eventlet gives a plain one where its listener never blocks."""
    if type(data) is int:
        session.nameless.add(data)
        return
    inner = library.inner(data) or (data if is_socket(data) else None)
    if inner is not None and _recorded(inner) is None:
        now = Clocks.monotonic()
        tracked = born(Birth(session, NUMBER["accepted"], now, now, frame), inner)
        if inner is not data:
            _remember(data, tracked)


def maker(library: Library, original: Method) -> Method:
    """`__init__` of a socket class: a birth, or the taking over of a descriptor."""

    def init(self: Any, *args: Any, **named: Any) -> None:
        session, begin, frame = current.session, Clocks.monotonic(), caller()
        birth = Birth(session, NUMBER["socket"], begin, 0, frame)
        given = args[3] if len(args) > 3 else named.get("fileno")
        try:
            original(self, *args, **named)
        except OSError as error:
            numbers = (*args, -1, -1, -1)[:3]
            if not named and given is None:
                stillborn(birth, error, numbers)
            raise
        running, inner = session.running.get(session.me.number), library.inner(self)
        if inner is None or (running is not None and running[1].method == _ACCEPT):
            return  # what `accept` makes is born when it has ended
        descriptor = _fileno(inner)
        if given is None:
            session.unclaimed.pop(descriptor, None)
            session.nameless.discard(descriptor)
            birth.ended()
            born(birth, inner)
        elif descriptor in session.nameless:
            session.nameless.discard(descriptor)
            now = Clocks.monotonic()
            born(Birth(session, NUMBER["accepted"], now, now, frame), inner)
        elif _recorded(inner) is None:
            birth.ended()
            claim(birth, inner)
        tracked = _recorded(inner)
        if inner is not self and tracked is not None:
            _remember(self, tracked)

    return named(init, original)


def closer(library: Library, original: Method, real: Method) -> tuple[Method, Method]:
    """`close` and `_real_close`: the first only says something while files keep the socket open."""

    def close(self: Any, *args: Any, **named: Any) -> Any:
        if self._io_refs > 0 and not self._closed:
            frame = caller()
            tracked = _tracked(library, self, frame)
            if tracked is not None:
                Ongoing(tracked, _CLOSE, frame).ok(outcome="deferred")
        return original(self, *args, **named)

    def real_close(self: Any, *args: Any, **named: Any) -> Any:
        frame, inner = caller(), library.inner(self)
        again = inner is None or _fileno(inner) < 0
        tracked = _tracked(library, self, frame)
        if tracked is None or (again and _final(frame)):
            return real(self, *args, **named)
        call, session = Ongoing(tracked, _CLOSE, frame), tracked.session
        lane, running = session.me.number, session.running
        outer, running[lane] = running.get(lane), (self, call)
        try:
            result = real(self, *args, **named)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            _leave(session, lane, outer)
        if again or not tracked.open:
            call.ok()
        else:
            released(tracked, call)
        return result

    return named(close, original), named(real_close, real)


def held_closer(original: Method) -> Method:
    """`close` of a socket that a library's object holds, where the library goes by the object."""

    def close(self: Any, *args: Any) -> Any:
        tracked = _recorded(self)
        if tracked is None or not tracked.open or running_on(self):
            return original(self, *args)
        call = Ongoing(tracked, _CLOSE, caller())
        result = original(self, *args)
        released(tracked, call)
        return result

    return named(close, original)


def _final(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name in ("close", "real_close", "_real_close"):
        frame = frame.f_back
    return frame is not None and frame.f_code in finalizers


def detacher(library: Library, original: Method) -> Method:
    """`detach`: the descriptor lives on, with another object or with nobody yet."""

    def detach(self: Any, *args: Any, **named: Any) -> Any:
        frame = caller()
        tracked, inner = _tracked(library, self, frame), library.inner(self)
        if tracked is None or inner is None or not tracked.open:
            return original(self, *args, **named)
        gives_away(inner, tracked)
        call = Ongoing(tracked, NUMBER["detach"], frame)
        descriptor = original(self, *args, **named)
        tracked.open = False
        session, model = tracked.session, tracked.model
        twin = session.holders.get(descriptor)
        if twin is not None and twin is not tracked and twin.model is model and twin.open:
            call.ok(outcome="deferred")
            return descriptor
        model.descriptors -= 1
        call.ok(outcome="deferred" if model.descriptors > 0 else "ok")
        session.unclaimed[descriptor] = model, call.row
        return descriptor

    return named(detach, original)


def twin(library: Library, original: Method) -> Method:
    """`dup`: the next object that is made shares this one's model."""

    def dup(self: Any, *args: Any, **named: Any) -> Any:
        tracked = _tracked(library, self, caller())
        inner = library.inner(self)
        if tracked is not None and inner is not None:
            gives_away(inner, tracked)
        me = current.session.me
        me.expected = None if tracked is None else tracked.model
        try:
            return original(self, *args, **named)
        finally:
            me.expected = None

    return named(dup, original)


CALLS = (
    "accept", "bind", "connect", "connect_ex", "getsockopt", "listen", "recv", "recv_into",
    "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendall", "sendmsg", "sendto",
    "shutdown",
)  # fmt: skip


def methods_of(
    library: Library, cls: type, owner: type | None = None
) -> list[tuple[Any, str, Any]]:
    """What stands in for the methods that `cls` defines, or inherits from C when it is the `owner`."""
    made: dict[str, Callable[[Method], Method]] = {
        name: partial(_call, library, name) for name in CALLS
    }
    made |= {
        "__init__": partial(maker, library),
        "_sendfile_use_send": partial(_call, library, "sendfile"),
        "detach": partial(detacher, library),
        "dup": partial(twin, library),
    }
    places = []
    for name, make in made.items():
        original = vars(cls).get(name) or (getattr(owner, name, None) if owner else None)
        if original is not None:
            places.append((cls, name, make(original)))
    if "_real_close" in vars(cls):
        close, real = closer(library, vars(cls)["close"], vars(cls)["_real_close"])
        places += [(cls, "close", close), (cls, "_real_close", real)]
    return places


TLS_METHODS = {
    "read": "ssl.read",
    "write": "ssl.write",
    "send": "ssl.write",
    "sendall": "ssl.write",
    "do_handshake": "ssl.do_handshake",
    "unwrap": "ssl.unwrap",
}
"""Attribute of an SSL socket's class -> the name in the log."""


def has_tls(sock: Any) -> bool:
    """Whether its bytes are encrypted by now; before and after that they go as plain ones."""
    return vars(sock).get("_sslobj") is not None


def _call(library: Library, name: str, original: Method) -> Method:
    return traced(library, original, name)
