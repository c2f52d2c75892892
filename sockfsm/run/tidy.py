"""While a program runs and when it has ended: its logs take no more room than they need or may."""

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
    """Cut the logs of processes that have ended, pack the small ones, keep all below `max_size`.

    It may be called at any time, every few seconds; whoever comes while another is at it waits.
    max_size: see `sizes.parse`.
    """
    # The program may have removed it, or put something else there.
    if trace.path.is_dir() and not trace.path.is_symlink():
        with _alone(trace.path):
            tidy_logs(trace.path, parse(max_size))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a lock on the folder, as far as its file system has such a thing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
