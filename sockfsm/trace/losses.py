"""What a trace lacks: calls that were not written or were dropped, logs that were cut or removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.events import Lost
from sockfsm.record.logs import LogFiles, loss
from sockfsm.record.names import SUFFIX, UNUSED
from sockfsm.record.reader import Hole
from sockfsm.record.room import DROPPED, dropped
from sockfsm.record.whole import cuts
from sockfsm.trace.decode import Decoder, head

if TYPE_CHECKING:
    from sockfsm.trace.about import About

_NUMBERED = re.compile(r"(\d+)-([1-9]\d{0,5})\.calls")
_NAMED = 3
DROP = "--max-size"


def losses(folder: Path, logs: list[LogFiles], about: About) -> list[Lost]:
    """Find what is lost, from the first and last records of the logs."""
    found: list[Lost] = []
    processes, calls = dropped(folder)
    if processes:
        text = f"{_count(calls)} of the {processes:,} oldest processes dropped by {DROP}"
        found.append(Lost("calls", DROPPED, calls, False, 0, 0, DROP, text))
    begun = [head(log) for log in logs]
    for log, decoder in zip(logs, begun, strict=True):
        found += _of_log(log, decoder)
    return found + list(_of_logs(folder, logs, begun, about.logs, processes))


def _of_log(log: LogFiles, begun: Decoder) -> Iterator[Lost]:
    name, clock = log.name, begun.process.clock
    if begun.dropped:
        until = begun.dropped_until + clock
        text = (
            f"{name}: the oldest {_count(begun.dropped)} dropped by {DROP}, last at {_time(until)}"
        )
        yield Lost("calls", name, begun.dropped, False, 0, until, DROP, text)
    lost = loss(log)
    if lost is not None and lost.calls:
        since, until = _wall(lost.since, clock), _wall(lost.until, clock)
        why, count = os.strerror(lost.errno), _count(lost.calls, lost.least)
        text = f"{name}: {count} not recorded{_between(since, until)}: {why}"
        yield Lost("calls", name, lost.calls, lost.least, since, until, why, text)
    if lost is not None and lost.orphans:
        why = "they could not begin a log"
        text = (
            f"{name}: {_count(lost.orphans)} of processes forked from this one not recorded: {why}"
        )
        yield Lost("calls", name, lost.orphans, False, 0, 0, why, text)
    for cut in cuts(log):
        yield Lost("records", cut.name, 0, True, 0, 0, cut.why, f"{cut.name}: {cut.why}")


def of_hole(name: str, hole: Hole, clock: int) -> Lost:
    """Describe what is lost in the middle of a log."""
    since, until = _wall(hole.since, clock), _wall(hole.until, clock)
    why = "interrupted while it was written"
    text = f"{name}: {_count(hole.records, what='record')} lost{_between(since, until)}: {why}"
    return Lost("records", name, hole.records, False, since, until, why, text)


def _of_logs(
    folder: Path,
    logs: list[LogFiles],
    begun: list[Decoder],
    noted: list[str] | None,
    explained: int,
) -> Iterator[Lost]:
    """Find logs that are missing, though others mention them. explained: how many were dropped."""
    there = {log.name for log in logs}
    # Logs are known from the supervisor, which lists them at the end, from forks, and by number.
    told = {*(noted or ()), *(decoder.parent for decoder in begun if decoder.parent)}
    for name in there:
        if numbered := _NUMBERED.fullmatch(name):
            before = (f"{numbered[1]}-{n}" for n in range(int(numbered[2])))
            told.update(stem + SUFFIX for stem in before if not (folder / (stem + UNUSED)).exists())
    gone = sorted(told - there)
    many = len(gone) - explained
    if many > 0:
        least = explained > 0
        names = ", ".join(gone[:_NAMED]) + (", ..." if len(gone) > _NAMED else "")
        why = "removed"
        text = f"{_count(many, least, what='log')} removed: {names}"
        yield Lost("logs", names, many, least, 0, 0, why, text)
    # Every traced process begins a log, even one without sockets.
    elif not logs and not noted and not explained:
        text = "no call log: nothing was traced, or the logs were removed"
        yield Lost("logs", "", 0, True, 0, 0, "none is there", text)


def _wall(monotonic: int, clock: int) -> int:
    return monotonic + clock if monotonic else 0


def _count(number: int, least: bool = False, what: str = "call") -> str:
    return f"{'at least ' if least else ''}{number:,} {what}{'s' if number != 1 else ''}"


def _between(since: int, until: int) -> str:
    return f" between {_time(since)} and {_time(until)}" if since or until else ""


def _time(wall: int) -> str:
    try:
        return datetime.fromtimestamp(wall / 1e9).strftime("%H:%M:%S.%f")[:-3] if wall else "?"
    except (OverflowError, ValueError, OSError):
        return "?"
