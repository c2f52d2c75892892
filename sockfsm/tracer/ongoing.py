"""A call of the program from its beginning to its record: whether it waits, and how it ends."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from errno import EAGAIN, EINPROGRESS
from fcntl import F_GETFL, fcntl
from os import O_NONBLOCK
from resource import RUSAGE_THREAD, getrusage
from types import FrameType
from weakref import ref

from sockfsm.model.errnos import errno_name
from sockfsm.record import codec
from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import METHODS, MOST, NUMBER, REFUSED, UNEXPLAINED, WAITED
from sockfsm.record.writer import UNWATCHED, Told
from sockfsm.tracer.buffers import class_name, members
from sockfsm.tracer.current import Session
from sockfsm.tracer.elsewhere import changed, shared
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.orders import kept, orders, overlapped
from sockfsm.tracer.rows import Model, Move, Row, Tracked, head, step

OURS = (MemoryError, RecursionError)
"""What can go wrong once the kernel has done its part. The program must not hear of it: it would
take the call for failed. `log.marked[0] = 1` says that a call is lost; it needs no memory, no stack."""
_RELEASED = NUMBER["released"]
_MOVING = frozenset(
    number
    for number, (name, word) in enumerate(METHODS)
    if word in ("bind", "listen", "connect", "close", "detach") or name.startswith("shutdown")
)
"""Methods that may take the socket elsewhere, for other threads' calls on it too."""
_AMID = 1 << 64
"""Beside a head word: only a call under way explains this one, which so tells of that call."""
_LARGEST = (1 << 64) - 1
_fileno = _socket.socket.fileno
Named = Callable[[], codec.Address]
"""Gives the address of a call, when it is written down."""


def _nowhere() -> codec.Address:
    return codec.NO_ADDRESS


def foreign(error: BaseException) -> bool:
    """Whether what came out of our own steps, once the kernel has done its part, is the program's."""
    return not isinstance(error, OURS) or from_handler(error)


class Ongoing(Told):
    """One call. Make it just before the kernel is asked, and call `ok` or `failed` once.

    asked: bytes asked for, or what else the record's `asked` is. begin: when it began, where that was
    before. Nothing that goes wrong here reaches the program: what cannot be written counts as lost.
    """

    __slots__ = (
        *("asked", "begin", "frame", "held", "method", "row", "session", "site", "sleeps"),
        *("tracked", "waited", "words"),
    )

    def __init__(
        self,
        tracked: Tracked,
        method: int,
        frame: FrameType | None,
        asked: int = 0,
        begin: int = 0,
        row: Row | None = None,
    ) -> None:
        self.tracked = tracked
        self.session = session = tracked.session
        self.method = method
        self.frame = frame
        self.asked = asked
        self.waited = False
        self.words = ""
        """Those of `model.variants` that hold beside the blocking mode."""
        self.sleeps = -1
        self.row = row or tracked.row
        if method in _MOVING:
            tracked.model.flying[id(self)] = ref(self)
        if session.log.untold:
            session.log.settle()
        self.watch = UNWATCHED
        self.begin = begin or Clocks.monotonic()

    def counts(self) -> None:
        """Nothing tells in advance whether the call will wait: the kernel counts a thread's sleeps."""
        self.sleeps = getrusage(RUSAGE_THREAD).ru_nvcsw

    def waits(self) -> None:
        """The call starts to block, unless this thread has been told so before."""
        if self.waited:
            return
        try:
            session = self.session
            self.site = session.places.site_of(self.frame)
            model, thread = self.tracked.model, session.me.number
            self.held = session.waiting.get(thread)
            self.waited = True
            session.waiting[thread] = model, self.method, Clocks.monotonic(), self.site
            if model.waiters is None:
                model.waiters = set()
            model.waiters.add(thread)
            _begun(session, thread)
        except BaseException as error:
            if not isinstance(error, OURS) and from_handler(error):
                raise
            try:
                self.session.log.lose()
            except OURS:
                self.session.log.marked[0] = 1

    def ok(
        self,
        done: int = 0,
        address: Named = _nowhere,
        outcome: str = "ok",
        words: str = "",
        end: int = 0,
    ) -> None:
        """The call gave a result. words: more of them. end: when, if that is not now."""
        try:
            self.begin_watch(self.session.log)
            end = end or Clocks.monotonic()
            bits, name = self._judged(outcome, words or self.words, end), address()
            self._write(bits | name[0], end, name[1] or self.asked, done | name[2])
        except BaseException as error:
            if self.watch == UNWATCHED:
                self.session.log.untold.append(None)
                self.watch = None
                if not foreign(error):
                    return
            if not isinstance(error, OURS) and from_handler(error):
                raise
            self.watch = None
            try:
                self.session.log.lose()
            except OURS:
                self.session.log.marked[0] = 1

    def failed(self, error: BaseException, address: Named = _nowhere, words: str = "") -> None:
        """The call raised."""
        try:
            self.begin_watch(self.session.log)
            end = Clocks.monotonic()
            outcome, timeout = outcome_of(error, METHODS[self.method][1], self.tracked.mode)
            if outcome == "EAGAIN" and self.waited and not timeout:
                self._check_wait()
            elif outcome == "EBADF":
                self._lost_descriptor()
            name = address()
            bits = self._judged(outcome, words or self.words, end) | name[0]
            if timeout:
                number = EINPROGRESS if outcome == "EINPROGRESS" else EAGAIN
                bits = codec.timed_out(bits, number)
            self._write(bits, end, name[1] or self.asked, name[2])
        except BaseException as error:
            if self.watch == UNWATCHED:
                self.session.log.untold.append(None)
                self.watch = None
                if not foreign(error):
                    return
            if not isinstance(error, OURS) and from_handler(error):
                raise
            self.watch = None
            try:
                self.session.log.lose()
            except OURS:
                self.session.log.marked[0] = 1

    def _judged(self, outcome: str, words: str, end: int) -> int:
        """Judge the outcome, move the model, and give the head word."""
        model, mode = self.tracked.model, self.tracked.mode
        variant = f"{mode} {words}" if words else mode
        try:
            if self.row.gone or model.row.gone:
                return self._of_gone(outcome, variant, end)
            while True:
                moves, now = model.moves, model.row
                bits, after = self._moved(now, moves, outcome, variant, end)
                later = kept(moves, Move(self.begin, end, self.method, outcome, variant, now))
                # Nothing is called from here on, so nobody comes between.
                if model.moves is moves and model.row is now:
                    if after is not now or bits & _AMID:
                        model.row, model.moves = after, later
                    return bits & ~_AMID
                if model.moves is moves and model.row is after:
                    return bits & ~_AMID  # a machine of the user's has moved it itself
        finally:
            model.flying.pop(id(self), None)

    def _of_gone(self, outcome: str, variant: str, end: int) -> int:
        """A call on an object that is closed, or that was closed meanwhile: it moves nothing more."""
        model = self.tracked.model
        if self.row.gone and model.row.gone:
            bits, model.row = step(self.row, self.method, outcome, variant, model)
            return bits
        bits, _ = step(self.row, self.method, outcome, variant)
        others = () if self.row.gone else overlapped(model.moves, self.begin)
        if bits & UNEXPLAINED and others:
            mine = Move(self.begin, end, self.method, outcome, variant, self.row)
            if orders(others, mine) is not None:
                bits &= ~UNEXPLAINED
        return bits

    def _moved(
        self, now: Row, moves: tuple[Move, ...], outcome: str, variant: str, end: int
    ) -> tuple[int, Row]:
        """The head word, and where the model is after this call, which found it at `now`."""
        model, method = self.tracked.model, self.method
        others = overlapped(moves, self.begin)
        bits, after = step(now, method, outcome, variant, None if others else model)
        if not others and not bits & UNEXPLAINED:
            return bits, after
        mine = Move(self.begin, end, method, outcome, variant, now)
        possible, amid = orders(others, mine) if others else None, 0
        if possible is None:
            # What it cannot explain may come of another thread's call under way: the kernel has done
            # that one already, and nobody has written it down yet.
            flying = tuple(
                Move(call.begin, 0, call.method, "", call.tracked.mode, now)
                for call in _flying(model)
                if call is not self
            )
            possible = orders(others, mine, flying) if flying else None
            amid = _AMID
        if possible is None and bits & UNEXPLAINED and shared(self.session, model):
            possible = changed(self.session, self.tracked.sock(), model, mine)
        if possible is None:
            return bits, after
        return head(now, possible, method, outcome) | bits & REFUSED | amid, possible

    def went_on(self) -> None:
        """The call did not block after all."""
        if self.waited:
            self._resume()
            self.waited = False

    def _write(self, bits: int, end: int, asked: int, done: int) -> None:
        tracked, model, session = self.tracked, self.tracked.model, self.session
        if not self.waited and 0 <= self.sleeps < getrusage(RUSAGE_THREAD).ru_nvcsw:
            self.waits()
        site = self.site if self.waited else session.places.site_of(self.frame)
        if self.waited:
            bits |= WAITED
            self._resume()
        asked, done = min(max(asked, 0), MOST), min(max(done, 0), _LARGEST)
        thread = session.me.number
        session.log.tell(self, self.begin, end, bits, model.number, site, thread, asked, done)
        if model.closing and not model.waiters:
            # The kernel held the socket for this call alone: now it is closed for good.
            model.closing = False
            released, tracked_row = Clocks.monotonic(), model.row
            bits, model.row = step(tracked_row, _RELEASED, "ok", tracked.mode, model)
            session.log.write(released, released, bits, model.number, 0, thread, 0, 0)

    def _resume(self) -> None:
        """The current thread's call blocks no longer; one that it interrupted does again."""
        session, model = self.session, self.tracked.model
        thread = session.me.number
        if self.held is None:
            session.waiting.pop(thread, None)
        else:
            session.waiting[thread] = self.held
            _begun(session, thread)
        if model.waiters is not None and (self.held is None or self.held[0] is not model):
            model.waiters.discard(thread)

    def _check_wait(self) -> None:
        """EAGAIN of a blocking call: SO_RCVTIMEO ended it, or somebody set O_NONBLOCK beside Python."""
        sock = self.tracked.sock()
        try:
            if sock is not None and fcntl(_fileno(sock), F_GETFL) & O_NONBLOCK:
                self.went_on()
        except (OSError, ValueError) as error:
            if from_handler(error):
                raise
            return  # closed meanwhile: the wait stays one

    def _lost_descriptor(self) -> None:
        """The descriptor is gone; another object's on the same socket may live on."""
        tracked, model = self.tracked, self.tracked.model
        if tracked.open and model.descriptors > 1:
            tracked.open = False
            model.descriptors -= 1
        if not tracked.open:
            self.row = tracked.row


def _flying(model: Model) -> list[Ongoing]:
    """The calls under way; those that a signal handler has cut off are gone."""
    calls = []
    # One step: whatever the collector runs meanwhile may begin and end calls on the same socket.
    for number in list(model.flying):
        watch = model.flying.get(number)
        call = watch() if watch is not None else None
        if call is None:
            model.flying.pop(number, None)
        else:
            calls.append(call)
    return calls


def _begun(session: Session, thread: int) -> None:
    """Tell the log what blocks this thread now."""
    model, method, since, site = session.waiting[thread]
    number = 0 if model is None else model.number
    bits = codec.begun(method, 0 if model is None else model.row.index)
    session.log.write(since, 0, bits, number, site, thread, 0, 0)


def outcome_of(error: BaseException, word: str, mode: str = "timeout") -> tuple[str, bool]:
    """(the outcome's name in the machine, whether Python's own timeout ended the call)."""
    if not isinstance(error, OSError):
        return "raised", False
    kind = class_name(type(error))
    if kind in ("SSLWantReadError", "SSLWantWriteError"):
        return "EAGAIN", False
    if kind in ("SSLZeroReturnError", "SSLEOFError"):
        return "eof", False
    if mode == "timeout" and isinstance(error, TimeoutError) and error.errno is None:
        return ("EINPROGRESS" if word == "connect" else "EAGAIN"), True
    if kind == "gaierror":
        return kind, False
    if members(type(error)).get("__module__") == "ssl" or error.errno is None:
        return "raised", False
    return errno_name(error.errno), False
