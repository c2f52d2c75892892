"""Keeps the logs of a trace below a size: the newest calls stay, how many went is written down."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from sockfsm import private
from sockfsm.errors import TraceError
from sockfsm.record.codec import seal
from sockfsm.record.layout import BEGUN, SLOT
from sockfsm.record.logs import LOGS, LogFiles, logs_and_ended, size_on_disk
from sockfsm.record.names import split
from sockfsm.record.packs import PACKS, pack_away, unpack
from sockfsm.record.reader import LogReader, thinned
from sockfsm.record.thinning import Children, thin

DROPPED = "dropped.json"
SMALL = 64 << 10  # logs below this are packed
TOGETHER = 100  # so many of them at a time


def tidy_logs(folder: Path, max_size: int) -> None:
    """Give back what ended processes do not use, pack their small logs, drop the oldest calls.

    One at a time.
    """
    ended = logs_and_ended(folder)[1]
    for log in ended:
        with contextlib.suppress(FileNotFoundError):
            cut(log.paths[-1])
    small = [log for log in ended if len(log.files) == 1 and _is_small(log.paths[0])]
    if len(small) >= TOGETHER:
        _pack(folder, [path for log in small for path in log.paths])
    packs = [path for path in folder.glob(PACKS) if size_on_disk(path) < 16 * SMALL]
    if len(packs) >= TOGETHER:
        _pack(folder, sorted(packs, key=_time))
    bound(folder, max_size)


def _pack(folder: Path, sources: list[Path]) -> None:
    taken = {path.name for path in folder.glob(PACKS)}
    name = next(n for i in itertools.count(1) if (n := f"ended-{i}.packed") not in taken)
    pack_away(folder / name, sources)


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size < SMALL
    except FileNotFoundError:
        return False


def total(folder: Path) -> int:
    """What the logs of a trace take on disk."""
    paths = [path for pattern in (LOGS, PACKS) for path in folder.glob(pattern)]
    return sum(map(size_on_disk, paths))


def bound(place: str | Path, max_size: int, only: str = "") -> None:
    """Drop the oldest calls until the logs take no more than `max_size` bytes.

    only: a log's name, when nobody else's are to be touched.
    """
    folder, kept = Path(place), set()
    while (surplus := total(folder) - max_size) > 0:
        logs, over = logs_and_ended(folder)
        ended = {log.name for log in over}
        mine = [log for log in logs if only in ("", log.name)]
        pieces = [piece for log in mine for piece in _oldest(log, log.name not in ended)]
        if not only:
            pieces += [_Piece(_time(path), path) for path in folder.glob(PACKS)]
        pieces = [piece for piece in pieces if piece.name not in kept]
        if not pieces:
            return
        oldest = min(pieces, key=attrgetter("time"))
        if not _drop(folder, oldest, logs, surplus):
            kept.add(oldest.name)


@dataclass(frozen=True)
class _Piece:
    """What can go: a pack, a whole log, or its segments up to one that may not."""

    time: int
    what: Path | LogFiles
    below: int = 0

    @property
    def name(self) -> str:
        """What the pack or the log is called."""
        return self.what.name


def _oldest(log: LogFiles, in_use: bool) -> Iterator[_Piece]:
    """The oldest piece of a log, if one can go: of a log in use, not the newest two segments."""
    paths = log.paths
    below = split(paths[-1].name)[1] - (1 if in_use else 0)
    begin = thinned(paths[0])
    left = [path for path in paths if begin < split(path.name)[1] < below]
    if left:
        yield _Piece(_time(left[0]), log, below)
    elif not in_use:
        yield _Piece(_time(paths[-1]), log)


def _drop(folder: Path, piece: _Piece, logs: list[LogFiles], surplus: int) -> bool:
    """Whether it could go now."""
    what = piece.what
    if isinstance(what, Path):
        with contextlib.suppress(TraceError):
            _forget(folder, [LogFiles(packed.name, (packed,)) for packed in unpack(what)])
        what.unlink(missing_ok=True)
    elif not piece.below:
        _forget(folder, [what])
        for path in what.paths:
            path.unlink(missing_ok=True)
    else:
        begin, upto = thinned(what.paths[0]), 0
        for path in what.paths:
            segment = split(path.name)[1]
            if begin < segment < piece.below and surplus > 0:
                upto, surplus = segment, surplus - size_on_disk(path)
        return thin(what, upto, Children(_forks(what.name, logs)))
    return True


def _forks(parent: str, logs: list[LogFiles]) -> list[tuple[int, int]]:
    """(when, first number that was not inherited) of the logs that began as forks of a log."""
    found = []
    for log in logs:
        with contextlib.suppress(TraceError):
            note = next((item for item in LogReader(*log.files) if isinstance(item, dict)), {})
            began, upto = note.get("forked"), note.get("inherits")
            if note.get("from") == parent and isinstance(began, int) and isinstance(upto, int):
                found.append((began, upto))
    return found


def _forget(folder: Path, logs: list[LogFiles]) -> None:
    """Write down that whole logs are dropped."""
    processes, calls = dropped(folder)
    for log in logs:
        with contextlib.suppress(TraceError):
            for item in LogReader(*log.files):
                if isinstance(item, dict):
                    before = item.get("dropped")
                    calls += before if isinstance(before, int) else 0
                else:
                    calls += not item[2] & BEGUN
    told = json.dumps({"processes": processes + len(logs), "calls": calls})
    private.write(folder / DROPPED, told.encode())


def dropped(folder: Path) -> tuple[int, int]:
    """(processes, calls) of the logs that were dropped whole."""
    try:
        told = json.loads((folder / DROPPED).read_bytes()[:1000])
        processes, calls = told["processes"], told["calls"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0, 0
    if not isinstance(processes, int) or not isinstance(calls, int) or min(processes, calls) < 0:
        return 0, 0
    return processes, calls


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _sealed(file: BinaryIO, used: int) -> bool:
    file.seek(used - SLOT)
    return file.read(SLOT) == seal(used // SLOT - 1)


def cut(path: Path) -> None:
    """Truncate a log of a process that has ended behind its last written slot, and seal it."""
    with os.fdopen(private.again(path), "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(end - (1 << 16), 0)
            file.seek(start)
            written = file.read(end - start).rstrip(b"\0")
            if written:
                # Back to a whole slot: the record's last bytes may be zeros of their own.
                used = -(-(start + len(written)) // SLOT) * SLOT
                if used < end and not _sealed(file, used):
                    file.seek(used)
                    file.write(seal(used // SLOT))
                    file.truncate(used + SLOT)
                return
            end = start
