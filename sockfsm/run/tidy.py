"""While a program runs and when it has ended: its logs take no more room than they need or may."""

from __future__ import annotations

from sockfsm.record.room import tidy_logs
from sockfsm.record.sizes import parse
from sockfsm.trace.trace import Trace


def tidy(trace: Trace, max_size: int | str | None = None) -> None:
    """Cut the logs of processes that have ended, pack the small ones, keep all below `max_size`.

    It may be called at any time, every few seconds. max_size: see `sizes.parse`.
    """
    tidy_logs(trace.path, parse(max_size))
