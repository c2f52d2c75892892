"""Thins a capture while it runs. A forked copy of the capturing process does it, at its leisure.

    path   |##### read by the copy #####|.... written meanwhile ....|
    fresh  |## kept ##|.... appended when the copy has ended ....|

Then the fresh file replaces the other one. The capturing process imports this module, so it imports
nothing heavy (`sockfsm.wire.capturer`).
"""

from __future__ import annotations

import posix
import select

from sockfsm.wire.output import File, missing

TYPE_CHECKING = False  # `typing` would cost milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockfsm.wire.pcapng import Frame

START = 1 << 24  # bytes of packets from which on it is worth while
_NICE = 10


class Thinner:
    """Decides when to thin a capture's file, and starts the copy that does it.

    limit: the most bytes on disk, of the file and the fresh one together; 0 for no limit. keeper:
    `module:function`, called with (folder, clock, error of the clock), returns the test for wanted
    frames; '' keeps all. left, old: how many packets were removed as not wanted, and as too old.
    """

    def __init__(self, path: str, limit: int, keeper: str) -> None:
        self.path = path
        self.limit = limit
        self.keeper = keeper
        self.results = -1
        self.left = self.old = 0
        self._child = self._upto = self._number = 0  # pid of the copy; what it reads
        # The file may take 3/4 of the limit, and the fresh one beside it a quarter.
        self._most = limit // 4
        self.full = limit * 3 // 4
        self._again = min(START, limit // 2) if limit else START

    def due(self, size: int) -> bool:
        """Whether to begin, now that the file has `size` bytes."""
        return self.results < 0 and size >= self._again and bool(self.keeper or self.limit)

    def begin(self, file: File, offset: int, error: int) -> None:
        """Start a copy that thins what the file holds now."""
        self._upto, self._number = file.size, file.packets
        self._next(file.size)
        try:
            results, report = posix.pipe()
        except OSError:
            return  # no descriptor left: try again later
        try:
            self._child = posix.fork()
        except OSError:
            posix.close(results)
        else:
            if self._child == 0:
                self._look(report, offset, error)
            self.results = results
        posix.close(report)

    def ready(self, seconds: float) -> bool:
        """Whether the copy tells of it within so many seconds, or has died."""
        poll = select.poll()
        poll.register(self.results, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))

    def end(self, file: File) -> None:
        """The copy has reported or died: use the fresh file, if it made one."""
        words = posix.read(self.results, 64).split()
        self._forget()
        if len(words) != 3:
            return
        kept, left, old = map(int, words)
        try:
            if left or old:
                file.go_on_in(self.path + ".part", self._upto, kept + file.packets - self._number)
                self.left, self.old = self.left + left, self.old + old
            else:
                posix.unlink(self.path + ".part")
        except OSError:
            return  # the folder is gone, or the disk is full: keep the file as it is
        self._next(file.size)

    def stop(self) -> None:
        """Stop a running copy. At the end of the capture its starter thins the whole file anyway."""
        if self.results >= 0:
            posix.kill(self._child, 9)
            self._forget()
            missing(self.path + ".part")

    def _forget(self) -> None:
        posix.close(self.results)
        self.results = -1
        posix.waitpid(self._child, 0)

    def _next(self, size: int) -> None:
        """Set when to thin next: seldom if most of the file is wanted."""
        self._again = max(START, size * 2)
        if self.limit:
            self._again = min(self._again, max(self.limit // 2, size + self.limit // 8))

    def _look(self, report: int, offset: int, error: int) -> None:
        try:
            posix.dup2(report, 3)
            posix.closerange(0, 3)
            posix.closerange(4, 1 << 16)
            posix.nice(_NICE)
            from pathlib import Path

            from sockfsm.wire.thin import thin

            wanted = self._wanted(offset, error)
            most = self._most if self._upto >= self.limit // 2 else 0
            kept, left, old = thin(Path(self.path), wanted, number=self._number, most=most)
            posix.write(3, b"%d %d %d\n" % (kept, left, old))
        finally:
            posix._exit(0)

    def _wanted(self, offset: int, error: int) -> Callable[[Frame], bool]:
        if not self.keeper:
            return lambda _: True
        from importlib import import_module

        module, _, function = self.keeper.partition(":")
        folder = self.path.rpartition("/")[0]
        try:
            made: Callable[[Frame], bool] = getattr(import_module(module), function)(
                folder, offset, error
            )
        except Exception:  # noqa: BLE001 - the logs cannot be read: keep what there is room for
            return lambda _: True
        return made
