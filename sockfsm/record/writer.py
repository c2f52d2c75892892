"""Writes a call log: slots in a shared file mapping, so that what was written survives SIGKILL.

The mapping is a *window* on the file, `(memory, slots)`: whoever writes takes the next slot's offset
from the iterator, which is atomic under the interpreter lock, and packs into it. When the slots run
out, `write` turns the window. A log that is closed, or failed, has a window onto nothing, so callers
need no test of their own.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic_ns, time_ns

from sockfsm.record.layout import CALL, FRAGMENT, MAGIC, MOST, SLOT, fragments
from sockfsm.record.mapping import map_file

SLOTS = 4096
SIZE = SLOT * SLOTS  # 192 KiB, a whole number of pages
Fields = tuple[int, int, int, int, int, int, int, int]
Listener = Callable[[Fields], None]
_NOWHERE = memoryview(bytearray(SLOT))


def nothing() -> tuple[memoryview, Iterator[int]]:
    """A window that takes every record and keeps none."""
    return _NOWHERE, itertools.repeat(0)


def clock_pair() -> tuple[int, int]:
    """(monotonic, wall) of one moment in ns; the closest of five readings."""
    best = (1 << 62, 0, 0)
    for _ in range(5):
        before, wall, after = monotonic_ns(), time_ns(), monotonic_ns()
        best = min(best, (after - before, (before + after) // 2, wall))
    return best[1], best[2]


class Log:
    """One process's call log. `window` is what the hot path uses; all else goes through `write`."""

    def __init__(self) -> None:
        self.window = nothing()
        self.path = ""
        self.problem = ""
        self.listener: Listener | None = None
        self.note_listener: Callable[[dict[str, object]], None] | None = None
        self._real = self.window
        self._size = 0
        self._notes = itertools.count(1)
        self._lock = threading.RLock()
        self._reopen: Callable[[], None] | None = None
        self._report: Callable[[str], None] = lambda line: None

    def open(self, path: str, report: Callable[[str], None]) -> None:
        """Begin a new log at `path`. OSError when it cannot be written."""
        memory = map_file(path, 0, SIZE)
        memory[: len(MAGIC)] = MAGIC
        self.path, self.problem, self._report = path, "", report
        self._size = SIZE
        self._notes = itertools.count(1)
        self._install((memory, iter(range(SLOT, SIZE, SLOT))))

    def _install(self, window: tuple[memoryview, Iterator[int]]) -> None:
        self._real = window
        # With a listener every record takes the slow way: its window has no slots.
        self.window = (_NOWHERE, iter(())) if self.listener else window

    def listen(
        self,
        listener: Listener | None,
        note_listener: Callable[[dict[str, object]], None] | None = None,
    ) -> None:
        """Have every record (its eight fields) and note told to somebody, or nobody (None)."""
        self.listener, self.note_listener = listener, note_listener
        self._install(self._real)

    def write(self, *fields: int) -> None:
        """Write one record, in a new window when the slots of this one have run out."""
        while True:
            memory, slots = self._real
            try:
                CALL.pack_into(memory, next(slots), *fields)
                break
            except StopIteration:
                self._turn(slots)
        if self.listener is not None:
            self.listener(fields)  # type: ignore[arg-type]

    def note(self, content: dict[str, object]) -> None:
        """Write a note. Its fragments may lie between other threads' records."""
        from json import dumps

        text = dumps(content, separators=(",", ":"), default=repr).encode()
        for fragment in fragments(next(self._notes) & MOST, text):
            while True:
                memory, slots = self._real
                try:
                    FRAGMENT.pack_into(memory, next(slots), *fragment)
                    break
                except StopIteration:
                    self._turn(slots)
        if self.note_listener is not None:
            self.note_listener(content)

    def _turn(self, exhausted: Iterator[int]) -> None:
        with self._lock:
            if self._real[1] is not exhausted:
                return
            if self._reopen is not None:
                reopen, self._reopen = self._reopen, None
                reopen()
                return
            try:
                memory = map_file(self.path, self._size, SIZE)
            except OSError as error:
                self.fail(f"{self.path}: {error.strerror}")
                return
            self._size += SIZE
            self._install((memory, iter(range(0, SIZE, SLOT))))
        monotonic, wall = clock_pair()
        self.note({"clock": wall - monotonic})

    def lose(self) -> None:
        """A call that cannot be written down: there was no memory, or no room on the stack."""
        self.problem = self.problem or "calls were lost for want of memory or stack"

    def fail(self, problem: str) -> None:
        """Stop writing and say so once: a broken log never breaks the traced program."""
        self.problem = problem
        self.window = self._real = nothing()
        self._report(f"tracing stopped: {problem}; what was logged until here is kept")

    def close(self) -> None:
        """Stop writing and give the unused rest of the window back to the disk."""
        with self._lock:
            memory, slots = self._real
            self.window = self._real = nothing()
        if memory is _NOWHERE:
            return
        first_free = next(slots, SIZE)
        # A thread that has just picked this window up must find no slot behind the new end.
        deque(slots, maxlen=0)
        try:
            os.truncate(self.path, self._size - SIZE + first_free)
        except OSError as error:
            # The unused slots stay; readers pass over them.
            self.problem = f"{self.path}: {error.strerror}"

    def leave(self, reopen: Callable[[], None]) -> None:
        """After a fork: the file is the parent's; `reopen` begins our own at the first record."""
        self._lock = threading.RLock()
        self._reopen = reopen
        self._real = self.window = (_NOWHERE, iter(()))
