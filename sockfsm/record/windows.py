"""The windows of a log: which region of which file each is, and the first slot of each file.

See `record.writer`, which turns them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from os import O_EXCL

from sockfsm.record.layout import (
    LOSS,
    LOSS_AT,
    MAGIC,
    MARKED_AT,
    SLOT,
    WINDOWS,
    WINDOWS_AT,
)
from sockfsm.record.mapping import mapper, take_away_empty
from sockfsm.record.names import segment_path

SLOTS = 4096
SIZE = SLOT * SLOTS  # 192 KiB, a whole number of pages
_TRIES = 4  # segments that others have taken
NOWHERE = memoryview(bytearray(SLOT))
map_window = mapper(SIZE)


class Head:
    """The first slot of a segment: what was lost while it was the newest one."""

    __slots__ = ("first", "last", "lost", "marked", "memory", "why")

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.marked = memory[MARKED_AT : MARKED_AT + 1]
        self.lost = self.first = self.last = self.why = 0

    def begin(self) -> None:
        """The segment begins with this window."""
        self.memory[: len(MAGIC)] = MAGIC
        self.memory[WINDOWS_AT] = 1

    def grow(self, windows: int) -> None:
        """The segment has so many windows now, or more."""
        begun = self.memory[WINDOWS_AT]
        self.memory[WINDOWS_AT] = begun & ~WINDOWS | max(begun & WINDOWS, windows)

    def count(self, by: int) -> None:
        """Write down that `by` more were lost."""
        # From here on nothing is called, so no signal handler or thread comes between.
        self.lost += by
        LOSS.pack_into(self.memory, LOSS_AT, self.lost, self.first, self.last, self.why)


class Files:
    """Where the windows of one log lie on disk."""

    __slots__ = ("_again", "failed", "head", "path", "per_segment", "regions", "segment")

    def __init__(self, path: str, memory: memoryview, per_segment: int) -> None:
        self.path = path
        self.head = Head(memory)
        self.per_segment = per_segment
        self.regions = itertools.count(1)
        self.failed: deque[int] = deque()
        self._again = iter(self.failed.popleft, None)
        self.segment = 0

    def map(self) -> Window:
        """The next region of the file, or of a new file, which nobody else gets."""
        region, tries = -1, _TRIES
        try:
            # No call: no handler comes between, and none of them is lost.
            try:
                for region in self._again:  # noqa: B007
                    break
            except IndexError:
                for region in self.regions:  # noqa: B007
                    break
            while True:
                segment, place = divmod(region, self.per_segment)
                path = segment_path(self.path, segment)
                try:
                    memory = map_window(path, place * SIZE, 0 if place else O_EXCL)
                    break
                except (FileNotFoundError, FileExistsError):
                    tries -= 1
                    if not tries:
                        raise
                # Somebody has taken the segment away, or put a file there: on to the next one. An
                # empty file is our own: a signal handler that raised came just when it was made.
                if place or not take_away_empty(path):
                    for region in self.regions:
                        if region >= (segment + 1) * self.per_segment:
                            break
        except BaseException:
            if region >= 0:
                self.failed.append(region)
            raise
        if place == 0:
            Head(memory).begin()
        elif segment == self.segment:
            self.head.grow(place + 1)
        return Window(memory, iter(range(0 if place else SLOT, SIZE, SLOT)), self, region)


class Window:
    """A window, and in `after` under 0 the one that follows it, once there is one."""

    __slots__ = ("after", "files", "memory", "region", "slots")

    def __init__(
        self,
        memory: memoryview = NOWHERE,
        slots: Iterator[int] | None = None,
        files: Files | None = None,
        region: int = 0,
    ) -> None:
        self.memory = memory
        self.slots = itertools.repeat(0) if slots is None else slots
        self.files = files
        self.region = region
        self.after: dict[int, Window] = {}
