"""Whether a log's files are as their writer left them: nobody has cut, emptied or removed one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sockfsm.record.codec import seal
from sockfsm.record.layout import CONTINUED, MAGIC, SLOT, WHOLE, WINDOWS, WINDOWS_AT
from sockfsm.record.logs import LogFiles
from sockfsm.record.names import segment_path, split
from sockfsm.record.packs import Packed, opened
from sockfsm.record.reader import thinned
from sockfsm.record.windows import SIZE


class Cut(NamedTuple):
    """A file that lacks something, and what, in a few words."""

    name: str
    why: str


def cuts(log: LogFiles) -> Iterator[Cut]:
    """The files of a log that lack something, by their sizes, first and last slots."""
    for file in log.files:
        try:
            with opened(file) as source:
                why = _wrong(source, file)
        except FileNotFoundError:
            continue  # thinned away since the folder was listed
        except OSError:
            continue  # whoever reads it says so
        if why and not (why in (_EMPTY, _NOTHING) and log.has_process):
            yield Cut(file.name, why)
    yield from _removed(log)


_EMPTY = "is empty: its process was killed before it began, or somebody has emptied it"
_NOTHING = "holds nothing: its process was killed before it began, or somebody has emptied it"


def _wrong(file: BinaryIO, what: Path | Packed) -> str:
    begin = file.read(SLOT)
    # The size after the beginning: the file grows first, and then its beginning says so.
    size = file.seek(0, os.SEEK_END)
    if not size:
        return _EMPTY
    if size < SLOT:
        return "was cut: not even its beginning is there"
    if not begin.startswith(MAGIC):
        file.seek(0)
        return "has lost its beginning" if any(file.read(SIZE)) else _NOTHING
    windows = begin[WINDOWS_AT] & WINDOWS
    slots, odd = divmod(size, SLOT)
    file.seek((slots - 1) * SLOT)
    if odd:
        return ""  # whoever reads it says so
    if not windows or file.read(SLOT) == seal(slots - 1):
        return ""
    if windows == WHOLE or size < windows * SIZE or size % SIZE:
        return f"was cut to {size:,} bytes: what came after is lost"
    return ""


def _removed(log: LogFiles) -> Iterator[Cut]:
    """Files that must be there by the numbers of the others."""
    if not log.paths:
        return
    there = {split(file.name)[1] for file in log.files}
    first = log.paths[0].with_name(log.name)
    upto, last = thinned(log.files[0]) if 0 in there else -1, max(there)
    if _continued(log.files[-1]):
        last = max(last, upto) + 1
    for segment in sorted({0, *range(upto + 1, last + 1)} - there):
        path = Path(segment_path(str(first), segment))
        # It may have come between the names of the others when the folder was listed.
        if not path.exists():
            yield Cut(path.name, "was removed")


def _continued(file: Path | Packed) -> bool:
    try:
        with opened(file) as source:
            begin = source.read(SLOT)
    except OSError:
        return False
    return len(begin) == SLOT and begin[WINDOWS_AT] & CONTINUED != 0
