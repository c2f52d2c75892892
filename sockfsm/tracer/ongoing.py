"""A call of the program between its begin and its record: whether it waits, how it ends."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from errno import EAGAIN, EINPROGRESS
from fcntl import F_GETFL, fcntl
from os import O_NONBLOCK
from types import FrameType

from sockfsm.model.errnos import errno_name
from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import (
    BEGUN,
    ERRNO,
    METHODS,
    MOST,
    NUMBER,
    OUTCOME,
    TIMEOUT,
    UNEXPLAINED,
    WAITED,
)
from sockfsm.record.writer import UNWATCHED, Told
from sockfsm.tracer.interruptions import from_handler
from sockfsm.tracer.places import site_of
from sockfsm.tracer.recorder import log, me
from sockfsm.tracer.rows import Model, Row, Tracked, advance, head, step

OURS = (MemoryError, RecursionError)
"""What can go wrong once the kernel has done its part. The program must not hear of it: it would
take the call for failed. `log.marked[0] = 1` says that a call is lost; it needs no memory, no stack."""
_CODE_BITS = 0xFFFF << ERRNO | 7 << OUTCOME
_RELEASED = NUMBER["released"]
_MOVING = frozenset(
    number
    for number, (name, word) in enumerate(METHODS)
    if word in ("bind", "listen", "connect", "close", "detach") or name.startswith("shutdown")
)
"""Methods that may take the socket elsewhere, for other threads' calls on it too."""
_LARGEST = (1 << 64) - 1
_fileno = _socket.socket.fileno
Address = tuple[int, int, int]
"""Head bits, asked and done of an address, as `addresses.packed` gives them."""
Named = Callable[[], Address]
"""Gives the address of a call, when it is written down."""


def _nowhere() -> Address:
    return 0, 0, 0


waiting: dict[int, tuple[Model | None, int, int, int]] = {}
"""thread number -> (model, method, since, site) of the call that blocks it now."""


class Ongoing(Told):
    """One call. Make it just before the kernel is asked; tell it once how the call ended.

    asked: bytes asked for, or what else the record's `asked` is. begin: when it began, where that was
    before. Nothing that goes wrong here reaches the program: what cannot be written counts as lost.
    """

    __slots__ = ("asked", "begin", "frame", "held", "method", "row", "site", "tracked", "waited")

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
        self.method = method
        self.frame = frame
        self.asked = asked
        self.waited = False
        self.row = row or tracked.row
        if method in _MOVING:
            model = tracked.model
            if model.flying is None:
                model.flying = {}
            model.flying[me.number] = method
        if log.untold:
            log.settle()
        self.watch = UNWATCHED
        self.begin = begin or Clocks.monotonic()

    def waits(self) -> None:
        """The call starts to block, unless this thread has been told so before."""
        if self.waited:
            return
        try:
            self.site = site_of(self.frame)
            model, thread = self.tracked.model, me.number
            self.held = waiting.get(thread)
            self.waited = True
            waiting[thread] = model, self.method, Clocks.monotonic(), self.site
            if model.waiters is None:
                model.waiters = set()
            model.waiters.add(thread)
            _begun(thread)
        except BaseException as error:
            if not isinstance(error, OURS) and from_handler(error):
                raise
            try:
                log.lose()
            except OURS:
                log.marked[0] = 1

    def ok(
        self,
        done: int = 0,
        address: Named = _nowhere,
        outcome: str = "ok",
        words: str = "",
        end: int = 0,
    ) -> None:
        """The call gave a result. words: see `rows.advance`. end: when, if that is not now."""
        self.begin_watch(log)
        end = end or Clocks.monotonic()
        try:
            bits, name = self._judged(outcome, words), address()
            self._write(bits | name[0], end, name[1] or self.asked, done | name[2])
        except BaseException as error:
            if not isinstance(error, OURS) and from_handler(error):
                raise
            self.watch = None
            try:
                log.lose()
            except OURS:
                log.marked[0] = 1

    def failed(self, error: BaseException, address: Named = _nowhere, words: str = "") -> None:
        """The call raised."""
        self.begin_watch(log)
        end = Clocks.monotonic()
        try:
            outcome, timeout = outcome_of(error, METHODS[self.method][1], self.tracked.mode)
            if outcome == "EAGAIN" and self.waited and not timeout:
                self._check_wait()
            elif outcome == "EBADF":
                self._lost_descriptor()
            name = address()
            bits = self._judged(outcome, words) | name[0]
            if timeout:
                number = EINPROGRESS if outcome == "EINPROGRESS" else EAGAIN
                bits = bits & ~_CODE_BITS | number << ERRNO | TIMEOUT << OUTCOME | WAITED
            self._write(bits, end, name[1] or self.asked, name[2])
        except BaseException as error:
            if not isinstance(error, OURS) and from_handler(error):
                raise
            self.watch = None
            try:
                log.lose()
            except OURS:
                log.marked[0] = 1

    def _judged(self, outcome: str, words: str) -> int:
        """Move the model. What it cannot explain may come of another thread's call under way: the
        kernel has done that one already, and nobody has written it down yet."""
        model = self.tracked.model
        if self.method in _MOVING and model.flying is not None:
            model.flying.pop(me.number, None)
        bits = advance(self.tracked, self.row, self.method, outcome, words)
        if not bits & UNEXPLAINED or not model.flying:
            return bits
        mode = self.tracked.mode
        variant = f"{mode} {words}" if words else mode
        for thread in list(model.flying):
            _, after = step(self.row, model.flying.get(thread, 0), "ok", mode)
            if not step(after, self.method, outcome, variant)[0] & UNEXPLAINED:
                return bits & ~UNEXPLAINED
        return bits

    def went_on(self) -> None:
        """The call did not block after all."""
        if self.waited:
            self._resume()
            self.waited = False

    def _write(self, bits: int, end: int, asked: int, done: int) -> None:
        tracked, model = self.tracked, self.tracked.model
        site = self.site if self.waited else site_of(self.frame)
        if self.waited:
            bits |= WAITED
            self._resume()
        asked, done = min(max(asked, 0), MOST), min(max(done, 0), _LARGEST)
        log.tell(self, self.begin, end, bits, model.number, site, me.number, asked, done)
        if model.closing and not model.waiters:
            # The kernel held the socket for this call alone: now it is closed for good.
            model.closing = False
            released, tracked_row = Clocks.monotonic(), model.row
            bits, model.row = step(tracked_row, _RELEASED, "ok", tracked.mode, model)
            log.write(released, released, bits, model.number, 0, me.number, 0, 0)

    def _resume(self) -> None:
        """The current thread's call blocks no longer; one that it interrupted does again."""
        thread, model = me.number, self.tracked.model
        if self.held is None:
            waiting.pop(thread, None)
        else:
            waiting[thread] = self.held
            _begun(thread)
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
            self.row = tracked.row


def _begun(thread: int) -> None:
    """Tell the log what blocks this thread now."""
    model, method, since, site = waiting[thread]
    number = 0 if model is None else model.number
    bits = method | BEGUN
    if model is not None:
        row = model.row
        bits = row.begun.get(method, 0)
        if not bits:
            bits = row.begun[method] = head(row, row, method, "ok") | BEGUN
    log.write(since, 0, bits, number, site, thread, 0, 0)


def outcome_of(error: BaseException, word: str, mode: str = "timeout") -> tuple[str, bool]:
    """(the outcome's name in the machine, whether Python's own timeout ended the call)."""
    if not isinstance(error, OSError):
        return "raised", False
    kind = type(error).__name__
    if kind in ("SSLWantReadError", "SSLWantWriteError"):
        return "EAGAIN", False
    if kind in ("SSLZeroReturnError", "SSLEOFError"):
        return "eof", False
    if mode == "timeout" and isinstance(error, TimeoutError) and error.errno is None:
        return ("EINPROGRESS" if word == "connect" else "EAGAIN"), True
    if kind == "gaierror":
        return kind, False
    if type(error).__module__ == "ssl" or error.errno is None:
        return "raised", False
    return errno_name(error.errno), False
