"""While a program runs and when it has ended: its logs take no more room than they need or may."""

from __future__ import annotations

from sockfsm.record.room import tidy_logs
from sockfsm.record.writer import MAX_SIZE
from sockfsm.trace.trace import Trace


def tidy(trace: Trace, max_size: int = MAX_SIZE) -> None:
    """Cut the logs of processes that have ended, pack the small ones, keep all below `max_size`."""
    tidy_logs(trace.path, max_size)
