"""Reads a call log, also one that is still being written or was cut short by a killed program."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sockfsm.errors import TraceError
from sockfsm.record.layout import BEGUN, FRAGMENT, MAGIC, SEAL, SLOT, STANDARD
from sockfsm.record.names import split
from sockfsm.record.packs import Packed, opened
from sockfsm.record.windows import SLOTS
from sockfsm.record.writer import Fields

_RECORDS = struct.Struct(STANDARD)
_CHUNK = SLOT * 16384
_NEAR = 1000


class Hole(NamedTuple):
    """Records that were lost in the midst of others: how many, and between which times (0: unknown)."""

    records: int
    since: int
    until: int


class _Unwritten(NamedTuple):
    """The slots of a file that were never written, where others of their window were; the last one
    that was."""

    file: Path | Packed
    slots: list[int]
    last: int


class LogReader:
    """Streams one log: notes as dicts, records as their eight fields, in the order of its files.

    `problems` lists, after the end, what could not be read. TraceError when a file is no log.
    """

    def __init__(self, *files: Path | Packed) -> None:
        self.files = files
        self.problems: list[str] = []
        self.pieces: dict[int, dict[int, bytes]] = {}
        """number -> the fragments of a note that is not complete."""
        self._upto = 0
        self._unwritten: list[_Unwritten] = []
        for file in files:
            try:
                with opened(file) as begin:
                    magic = begin.read(len(MAGIC))
            except FileNotFoundError:
                if len(files) == 1:
                    raise TraceError(f"{file}: {os.strerror(errno.ENOENT)}") from None
                continue  # thinned away since the folder was listed
            except OSError as error:
                raise TraceError(f"{file}: {error.strerror}") from None
            # Nothing but zeros: the process has made its log and not begun it yet.
            if magic.strip(b"\0") and not MAGIC.startswith(magic):  # else cut: `record.whole`
                raise TraceError(
                    f"{file}: not a call log of this version of sockfsm (bad first bytes)"
                )

    def __iter__(self) -> Iterator[Fields | dict[str, Any]]:
        self.pieces, self._upto = {}, 0
        self._unwritten = []
        for file in self.files:
            segment = split(file.name)[1]
            if segment == 0 or segment > self._upto:
                yield from self._file(file)
        if self.pieces:
            self.problems.append(f"{self.files[0].name}: {len(self.pieces)} notes are incomplete")

    def _file(self, source: Path | Packed) -> Iterator[Fields | dict[str, Any]]:
        name = source.name
        try:
            file = opened(source)
        except FileNotFoundError:
            self.problems.append(f"{name}: was dropped while it was read: --max-size")
            return
        with file:
            file.seek(SLOT)
            position = SLOT
            zeros: list[int] = []
            while chunk := file.read(_CHUNK):
                odd = len(chunk) % SLOT
                if odd:
                    self.problems.append(f"{name}: the last {odd} bytes are no whole record")
                    chunk = chunk[:-odd]
                for offset, fields in enumerate(_RECORDS.iter_unpack(chunk)):
                    head = fields[2]
                    if head & 0xFF < SEAL:
                        if head:
                            yield fields
                        else:
                            zeros.append(position // SLOT + offset)
                        continue
                    if head & 0xFF == SEAL:
                        continue
                    at = position + offset * SLOT
                    note = self._fragment(self.pieces, chunk, offset * SLOT, at, name)
                    if note is not None:
                        upto = note.get("thinned")
                        if isinstance(upto, int):
                            self._upto = upto
                        yield note
                position += len(chunk)
        self._remember(source, zeros, position // SLOT)

    def _remember(self, source: Path | Packed, zeros: list[int], end: int) -> None:
        last, left = end - 1, iter(reversed(zeros))
        while last > 0 and next(left, 0) == last:
            last -= 1
        if last <= 0:
            return  # nothing is written here
        many = Counter(slot // SLOTS for slot in zeros)
        # A window that is empty as a whole was never used: whoever mapped it came too late.
        used = {w for w in many if many[w] < min((w + 1) * SLOTS, end) - max(w * SLOTS, 1)}
        self._unwritten.append(_Unwritten(source, [z for z in zeros if z // SLOTS in used], last))

    def holes(self, ended: bool = True) -> Hole | None:
        """What was lost in the midst, once all is read: slots that were taken and never written.

        ended: nobody writes the log any more. Else its last window may still be filled.
        """
        if not self._unwritten:
            return None
        end = self._unwritten[-1].last
        if not ended:
            end -= end % SLOTS
        found = [(file, slot) for file, slots, _ in self._unwritten[:-1] for slot in slots]
        found += [(self._unwritten[-1].file, s) for s in self._unwritten[-1].slots if s < end]
        if not found:
            return None
        return Hole(len(found), _time(*found[0], -1), _time(*found[-1], 1))

    def _fragment(
        self,
        pieces: dict[int, dict[int, bytes]],
        chunk: bytes,
        offset: int,
        position: int,
        name: str,
    ) -> dict[str, Any] | None:
        """Collect one fragment; the note once its last one is there."""
        front, head, back = FRAGMENT.unpack_from(chunk, offset)
        number, index = head >> 24, head >> 9 & 0x7FFF
        mine = pieces.setdefault(number, {})
        mine[index] = front + back
        if head >> 8 & 1:
            text = b"".join(mine[i] for i in sorted(mine)).rstrip(b"\0")
            del pieces[number]
            try:
                note = json.loads(text)
            except (ValueError, RecursionError):
                note = None
            if isinstance(note, dict):
                return note
            self.problems.append(f"{name}: damaged note at byte {position}")
        return None


def _time(source: Path | Packed, slot: int, step: int) -> int:
    """When the nearest call before (-1) or after (1) a slot ended; 0 where none is near."""
    near = range(slot + step, max(slot + step * _NEAR, 0), step)
    try:
        with opened(source) as file:
            for other in near:
                file.seek(other * SLOT)
                text = file.read(SLOT)
                if len(text) < SLOT or not other:
                    return 0
                _, end, head, *_ = _RECORDS.unpack(text)
                if head and head & 0xFF < SEAL and not head & BEGUN:
                    return int(end)
    except OSError:
        return 0
    return 0


def first_note(first: Path | Packed) -> dict[str, Any]:
    """A log's first note, which tells of its process; {} without one. TraceError when it is no log."""
    return next((item for item in LogReader(first) if isinstance(item, dict)), {})


def thinned(first: Path | Packed) -> int:
    """The segment up to which a log was thinned, by its first file; -1 for none."""
    with contextlib.suppress(TraceError):
        upto = first_note(first).get("thinned", -1)
        return upto if isinstance(upto, int) else -1
    return -1
