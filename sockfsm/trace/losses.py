"""What a trace lacks, in words: calls that could not be written, and those that were dropped."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from sockfsm.record.logs import LogFiles, Loss, loss
from sockfsm.record.room import dropped
from sockfsm.trace.decode import head

_LOST, _DROPPED = " not recorded", " by --max-size"


def tell_losses(folder: Path, logs: list[LogFiles], problems: list[str]) -> None:
    """Put one line for each loss into `problems`, in place of what was told before.

    It reads the beginnings of the logs alone.
    """
    problems[:] = [line for line in problems if _LOST not in line and _DROPPED not in line]
    processes, calls = dropped(folder)
    if processes:
        problems.append(f"{_count(calls)} of the {processes:,} oldest processes dropped{_DROPPED}")
    for log in logs:
        lost = loss(log)
        begun = head(log)
        clock = begun.process.clock
        if begun.dropped:
            until = _time(begun.dropped_until + clock)
            problems.append(
                f"{log.name}: the oldest {_count(begun.dropped)} dropped{_DROPPED}, last at {until}"
            )
        if lost is not None and lost.calls:
            problems.append(f"{log.name}: {_count(lost.calls)}{_LOST} {_when(lost, clock)}")
        if lost is not None and lost.orphans:
            problems.append(
                f"{log.name}: {_count(lost.orphans)} of processes forked from this one{_LOST}: "
                "they could not begin a log"
            )


def _count(calls: int) -> str:
    return f"{calls:,} call{'s' if calls != 1 else ''}"


def _when(lost: Loss, clock: int) -> str:
    why = os.strerror(lost.errno)
    return f"between {_time(lost.since + clock)} and {_time(lost.until + clock)}: {why}"


def _time(wall: int) -> str:
    try:
        return datetime.fromtimestamp(wall / 1e9).strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "?"
