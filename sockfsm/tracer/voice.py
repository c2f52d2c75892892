"""Standard error as it was when tracing began."""

from __future__ import annotations

import stat
from os import fstat, write


class Voice:
    """Says lines on standard error; the program may close it, and a socket of its own may get the
    number."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None

    def listen(self) -> None:
        """What descriptor 2 is now is where we may write."""
        self._known = self._now()

    def _now(self) -> tuple[int, int] | None:
        try:
            found = fstat(2)
        except OSError:
            return None
        return None if stat.S_ISSOCK(found.st_mode) else (found.st_dev, found.st_ino)

    def say(self, line: str) -> None:
        """Write a line if it reaches whom it is for."""
        if self._known is not None and self._now() == self._known:
            try:
                write(2, line.encode("utf-8", "backslashreplace"))
            except OSError:
                self._known = None  # nobody is left to tell
