"""Writes a call log: slots in a shared file mapping, so that what was written survives SIGKILL.

The mapping is a *window* on the file, `(memory, slots)`: whoever writes takes the next slot's offset
from the iterator, which is atomic under the interpreter lock, and packs into it. When the slots run
out, `write` turns the window. A log that is closed has a window onto nothing, so callers need no
test of their own.

There is no lock: a signal handler or a finalizer may run between any two steps here, and may write
records itself. Each window knows the one that came after it, set once and for all by
`dict.setdefault`; who comes too late throws away what he has mapped and uses the other's.

When no window can be had, the newest records wait in memory, and the rest is counted; the count is
kept in the first slot of the log's newest file, which stays mapped. So it is known even when the
process is killed before there is room again.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from operator import length_hint
from os import O_EXCL, rename, strerror
from struct import Struct
from struct import error as StructError  # noqa: N812
from types import FrameType
from typing import Any
from weakref import ref

from sockfsm.record.clocks import Clocks, clock_pair
from sockfsm.record.codec import encoded, fragments, seal
from sockfsm.record.layout import (
    BEGUN,
    BIRTHS,
    CALL,
    CONTINUED,
    FRAGMENT,
    LEAST,
    METHODS,
    MOST,
    ORPHANS,
    ORPHANS_AT,
    SLOT,
    WINDOWS_AT,
)
from sockfsm.record.mapping import shorten
from sockfsm.record.names import SUFFIX, UNUSED, segment_path
from sockfsm.record.windows import NOWHERE, SIZE, Files, Head, Window, map_window

MAX_SIZE = 512 << 20  # 11 million calls
SEGMENT_WINDOWS = 11  # 2 MiB: thinning one takes a fiftieth of a second
AGAIN = 10_000_000  # ns until a window that could not be had is asked for again
WAITING = 4096  # records that wait in memory for it
WAITING_VITAL = 65536  # as many as this of those without which later ones cannot be read

Fields = tuple[int, int, int, int, int, int, int, int]
Listener = Callable[[Fields], None]
Note = dict[str, Any]
NoteListener = Callable[[Note], None]

_FULL = (1 << 64) - 1
_WIDTHS = (_FULL, _FULL, _FULL, MOST, MOST, MOST, MOST, _FULL)
_VITAL = frozenset(
    number
    for number, (_, word) in enumerate(METHODS)
    if word in BIRTHS or word in ("accept", "bind", "connect")
)
_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_OURS = (_HERE, os.path.dirname(os.__file__) + os.sep, "<frozen ")
_LOOKS = 4
_CO_VARARGS = 4  # `inspect` has it, and costs milliseconds
_PACKAGES = f"{os.sep}site-packages{os.sep}"


UNWATCHED = 0


class Told:
    """A call that is watched from its end until its record is written or counted as lost.

    A signal handler may raise at any step between. The call's object then dies unwritten, and a
    function of C counts it: a function of Python's could be interrupted itself.
    """

    __slots__ = ("__weakref__", "watch")

    def __init__(self) -> None:
        self.watch: object = UNWATCHED

    def begin_watch(self, log: Log) -> None:
        """Watch from now on. Whoever makes the call counts it if this is not reached."""
        try:
            self.watch = ref(self, log.untold.append)
        except MemoryError:
            self.watch = None


class Log:
    """One process's call log. `window` is what the hot path uses; all else goes through `write`."""

    def __init__(self) -> None:
        self._now = Window()
        self.window: tuple[memoryview, Iterator[int]] = (self._now.memory, self._now.slots)
        self.listener: Listener | None = None
        self.note_listener: NoteListener | None = None
        self.rotated: Callable[[str, int], None] | None = None
        """Told (path of the log, segment) when a segment has begun."""
        self._notes = itertools.count(1)
        self._waiting: deque[tuple[Head | None, Struct, tuple[Any, ...]]] = deque()
        self._failing = False
        self._again = 0
        self._recovering = False
        self._why = 0
        self._uncounted = 0
        self.untold: deque[object] = deque()
        """One for each call that has gone without having been told of: see `Told`."""
        self.marked: bytearray | memoryview = bytearray(1)
        """Set to 1 by whoever has lost calls, and has not even the memory to count them. It lies in
        the log itself, where there is one."""
        self._parent: memoryview | None = None
        self._orphans = 0
        self._reopen: Callable[[], None] | None = None
        self._report: Callable[[str], None] = lambda line: None

    @property
    def path(self) -> str:
        """The log's first file; '' when there is none."""
        return self._now.files.path if self._now.files is not None else ""

    def open(
        self,
        folder: str,
        pid: int,
        told: Callable[[int], list[Note]],
        report: Callable[[str], None],
        max_size: int = MAX_SIZE,
    ) -> None:
        """Begin a new log in `folder`. OSError when it cannot be written.

        told: gives the notes that it begins with, for the log's number among those of this `pid`.
        """
        old, number = self._now, 0
        while True:
            path = f"{folder}/{pid}-{number}{SUFFIX}"
            try:
                memory = map_window(path, 0, O_EXCL)
                break
            except FileExistsError:
                number += 1
        files = Files(path, memory, per_segment(max_size))
        files.head.begin()
        window = Window(memory, iter(range(SLOT, SIZE, SLOT)), files)
        notes = told(number)
        left = list(itertools.dropwhile(lambda note: self._begin(window, note), notes))
        if old.after.setdefault(0, window) is not window:
            # A signal handler or a thread came between and has begun one, under a later number.
            rename(path, unused := path.removesuffix(SUFFIX) + UNUSED)
            shorten(unused, 0)
            return
        self._report = report
        if self._reopen is None:
            self._failing, self._again = False, 0
        self._install(window)
        for note in left:
            self.note(note)
        if self.note_listener is not None:
            for note in notes:
                self.note_listener(note)

    def _begin(self, window: Window, note: Note) -> bool:
        """Write a note into a window that nobody else knows yet; whether it had room."""
        pieces = fragments(next(self._notes) & MOST, encoded(note))
        # No slot is taken that is not written: it would look like a record that was lost.
        if length_hint(window.slots) < len(pieces):
            return False
        for piece in pieces:
            FRAGMENT.pack_into(window.memory, next(window.slots), *piece)
        return True

    def _install(self, window: Window) -> None:
        self._now = window
        if window.files is not None:
            self.marked = window.files.head.marked
        # With a listener every record takes the slow way: its window has no slots.
        self.window = (NOWHERE, iter(())) if self.listener else (window.memory, window.slots)

    def listen(self, listener: Listener | None, note_listener: NoteListener | None = None) -> None:
        """Have every record (its eight fields) and note told to somebody, or nobody (None)."""
        self.listener, self.note_listener = listener, note_listener
        self._install(self._now)

    def write(self, *fields: int) -> None:
        """Write one record, in a new window when the slots of this one have run out."""
        self._put(CALL, fields)
        if self.listener is not None:
            self.listener(fields)  # type: ignore[arg-type]

    def tell(self, call: Told, *fields: int) -> None:
        """The same for a call that is watched."""
        self._put(CALL, fields, call)
        if self.listener is not None:
            self.listener(fields)  # type: ignore[arg-type]

    def note(self, content: Note) -> None:
        """Write a note. Its fragments may lie between other threads' records."""
        interrupted: BaseException | None = None
        for fragment in fragments(next(self._notes) & MOST, encoded(content)):
            try:
                self._put(FRAGMENT, fragment)
            except BaseException as error:  # noqa: BLE001 - the program's; the note comes first
                interrupted = error
        if self.note_listener is not None:
            self.note_listener(content)
        try:
            if interrupted is not None:
                raise interrupted
        finally:
            del interrupted  # else the exception holds itself, and the call that it has cut off

    def _put(
        self, form: Struct, fields: tuple[Any, ...], call: Told | None = None, again: bool = True
    ) -> None:
        """Raises only what a signal handler of the program's raises. Even then the record is written,
        or counted as lost."""
        window, slot = self._now, None
        try:
            while True:
                # No call: no handler can come, and raise, between the taking of a slot and its use.
                for slot in window.slots:  # noqa: B007
                    break
                else:
                    if not self._turn(window):
                        self._wait(form, fields)
                        if call is not None:
                            call.watch = None
                        return
                    window = self._now
                    continue
                break
            try:
                form.pack_into(window.memory, slot, *fields)
            except StructError:
                cut = [field & width for field, width in zip(fields, _WIDTHS, strict=True)]
                form.pack_into(window.memory, slot, *cut)
        except BaseException as error:
            if not programs(error):
                # No memory, no stack. A slot that stays empty tells of its loss itself.
                self._uncounted += slot is None and _is_call(form, fields)
                if call is not None:
                    call.watch = None
                return
            if slot is None and again:
                self._put(form, fields, call, again=False)
            elif slot is None and call is not None:
                pass  # its watch counts it
            elif slot is None:
                self._uncounted += _is_call(form, fields)
            elif not any(window.memory[slot : slot + SLOT]):
                form.pack_into(window.memory, slot, *fields)
            if call is not None and slot is not None:
                call.watch = None
            raise
        if call is not None:
            call.watch = None

    def _turn(self, window: Window) -> bool:
        """Go on to the window after this one; whether there is one."""
        after = window.after.get(0)
        if after is not None:
            self._install(after)
            return True
        if self._failing and Clocks.monotonic() < self._again:
            return False
        try:
            if window.files is not None:
                after = window.after.setdefault(0, window.files.map())
                self._install(after)
            elif self._reopen is not None:
                self._reopen()
        except Exception as error:
            if programs(error):
                raise
            self._fail(window, error)
            return False
        self.settle()
        if (self._failing or self._waiting) and not self._recovering:
            self._recovering = True
            try:
                self._recover(window)
            finally:
                self._recovering = False
        elif after is not None:
            monotonic, wall = clock_pair()
            self.note({"clock": wall - monotonic})
        if after is not None and after.files is not None:
            self._segment(after, after.files)
        return True

    def _segment(self, window: Window, files: Files) -> None:
        """A window of a new segment: from now on, what is lost is counted in that."""
        segment, place = divmod(window.region, files.per_segment)
        if place == 0 and segment > files.segment:
            files.head.memory[WINDOWS_AT] |= CONTINUED
            files.segment, files.head = segment, Head(window.memory)
            self.marked = files.head.marked
            if self.rotated is not None:
                self.rotated(files.path, segment)

    def lose(self) -> None:
        """A call that cannot be written down: there was no memory, or no room on the stack."""
        self._uncounted += 1

    def settle(self) -> None:
        """Write down the losses for which there was no memory then."""
        files = self._now.files
        if (self._uncounted or self.marked[0] or self.untold) and files is not None:
            head, least = files.head, bool(self.marked[0])
            if least or self.untold:
                # One that a handler interrupted may have been interrupted again, at its counting.
                head.memory[WINDOWS_AT] |= LEAST
            by, self._uncounted, self.marked[0] = self._uncounted + least, 0, 0
            if self.untold:
                head.why = head.why or (0 if by else errno.EINTR)
                while self.untold:
                    self.untold.pop()
                    by += 1
            head.why, head.last = head.why or errno.ENOMEM, Clocks.monotonic()
            head.first = head.first or head.last
            head.count(by)

    def _fail(self, window: Window, error: Exception) -> None:
        # Else an audit hook does not want it.
        other = errno.ENOMEM if isinstance(error, MemoryError | RecursionError) else errno.EPERM
        why = (error.errno if isinstance(error, OSError) else 0) or other
        head = window.files.head if window.files is not None else None
        if head is not None:
            head.why = why
        self._why = why
        self._again = Clocks.monotonic() + AGAIN
        if not self._failing:
            self._failing = True
            where = window.files.path if window.files is not None else "a forked process's log"
            self._report(
                f"tracing stopped: {where}: {strerror(why)}; what was logged until here is kept, "
                "and it goes on when it can"
            )

    def _wait(self, form: Struct, fields: tuple[Any, ...]) -> None:
        """There is no slot: keep what can be kept, and count it as lost until it is written."""
        files = self._now.files
        head = files.head if files is not None else None
        if _is_call(form, fields):
            if head is not None:
                head.last = fields[1] or fields[0]
                head.first = head.first or head.last
                head.count(1)
            else:
                self._orphan(1)
        vital = form is FRAGMENT or fields[2] & 0xFF in _VITAL
        if len(self._waiting) < (WAITING_VITAL if vital else WAITING):
            self._waiting.append((head, form, fields))

    def _orphan(self, by: int) -> None:
        """Count in the log of the process that forked us, for want of our own."""
        self._orphans += by
        if self._parent is not None:
            (orphans,) = ORPHANS.unpack_from(self._parent, ORPHANS_AT)
            ORPHANS.pack_into(self._parent, ORPHANS_AT, max(orphans + by, 0) & MOST)

    def _recover(self, window: Window) -> None:
        """There is room again: write what has waited, and say what is lost."""
        self._failing = False
        before = window.files.head if window.files is not None else None
        since, until, why = (before.first, before.last, before.why) if before else (0, 0, 0)
        written = 0
        while not self._failing:
            try:
                head, form, fields = self._waiting.popleft()
            except IndexError:
                break
            # When that fails again, it is counted again.
            self._put(form, fields)
            if _is_call(form, fields):
                written += 1
                if head is not None:
                    head.count(-1)
        if before is None:
            # Our own log has begun: what is lost for good stands there.
            lost = self._orphans - written
            self._orphan(-(lost + written))
            files = self._now.files
            if lost and files is not None:
                files.head.first = files.head.last = Clocks.monotonic()
                files.head.why = self._why
                files.head.count(lost)
        else:
            lost = before.lost
        if lost:
            self.note({"lost": lost, "since": since, "until": until, "errno": why})

    def close(self) -> None:
        """Stop writing and give the unused rest of the window back to the disk."""
        self._reopen = None
        self.settle()
        last, nothing = self._now, Window()
        while (after := last.after.setdefault(0, nothing)) is not nothing:
            last = after
        self._install(nothing)
        self.marked = bytearray(self.marked)
        files = last.files
        if files is None:
            return
        # All at once: a thread that has just picked this window up must find no slot behind the end.
        first_free = next(iter([*last.slots]), SIZE)
        segment, place = divmod(last.region, files.per_segment)
        end = place * SIZE + first_free
        if first_free < SIZE:
            last.memory[first_free : first_free + SLOT] = seal(end // SLOT)
            end += SLOT
        try:
            shorten(segment_path(files.path, segment), end)
        except OSError:
            return  # the unused slots stay; readers pass over them

    def leave(self, reopen: Callable[[], None]) -> None:
        """After a fork: the file is the parent's; `reopen` begins our own at the first record."""
        old, self._now = self._now, Window(slots=iter(()))
        self._parent = old.files.head.memory if old.files is not None else self._parent
        self._orphans = self._uncounted = 0
        self._reopen, self._failing, self._recovering = reopen, False, False
        self._waiting.clear()
        self.untold.clear()
        self._notes = itertools.count(1)
        self._install(self._now)
        # A call that was just about to write has the parent's window in hand.
        deque(old.slots, maxlen=0) if old.files is not None else None


def _is_call(form: Struct, fields: tuple[Any, ...]) -> bool:
    """Whether a record tells of a finished call: none does that tells that one began to block."""
    return form is CALL and not fields[2] & BEGUN


def programs(error: BaseException) -> bool:
    """Whether a signal handler of the program raised it in our midst, and not we ourselves, nor an
    audit hook: without us it would have heard of nothing, and raised nothing."""
    if error.__traceback__ is None:
        return True
    for _ in range(_LOOKS):
        with suppress(Exception, SystemExit):
            return _foreign(error)
        # The hook hears of our looking at frames, too, each time; a handler comes but now and then.
    return False


def _foreign(error: BaseException) -> bool:
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not file.startswith(_OURS) or (_PACKAGES in file and not file.startswith(_HERE)):
            return not _audits(step.tb_frame)
        step = step.tb_next
    return not isinstance(error, Exception)


def _audits(frame: FrameType) -> bool:
    """Whether a function was called as an audit hook is: with an event's name and a tuple."""
    code, given = frame.f_code, frame.f_locals
    values = [given.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _CO_VARARGS:
        values += given.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    return any(type(a) is str and type(b) is tuple for a, b in pairwise(values))


def per_segment(max_size: int) -> int:
    """Windows in each file of a log: at least eight files make up what the log may hold."""
    return max(min(max_size // (8 * SIZE), SEGMENT_WINDOWS), 1)
