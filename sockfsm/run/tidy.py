"""Keeps the logs small, while a program runs and when it has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sockfsm.record.room import tidy_logs
from sockfsm.record.sizes import parse
from sockfsm.trace.trace import Trace


def tidy(trace: Trace, max_size: int | str | None = None) -> None:
    """Cut the logs of ended processes to their length, pack small ones, and keep all below `max_size`.

    It may be called at any time. If another process is doing it, this waits.
    max_size: see `sizes.parse`.
    """
    # The program may have removed it, or put something else there.
    if trace.path.is_dir() and not trace.path.is_symlink():
        with _alone(trace.path):
            tidy_logs(trace.path, parse(max_size))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, if its file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
