"""Reads a call log, also one that is still being written or was cut short by a killed program."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sockfsm.errors import TraceError
from sockfsm.record.layout import FRAGMENT, MAGIC, NOTE, SLOT, STANDARD
from sockfsm.record.writer import Fields

_RECORDS = struct.Struct(STANDARD)
_CHUNK = SLOT * 16384


class LogReader:
    """Streams one log: notes as dicts, records as their eight fields, in the order of the file.

    `problems` lists, after the end, what could not be read. TraceError when the file is no log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        try:
            with path.open("rb") as file:
                magic = file.read(len(MAGIC))
        except OSError as error:
            raise TraceError(f"{path}: {error.strerror}") from None
        # Nothing but zeros: the process has made its log and not begun it yet.
        if magic.strip(b"\0") and magic != MAGIC:
            raise TraceError(f"{path}: not a call log of this version of sockfsm (bad first bytes)")

    def __iter__(self) -> Iterator[Fields | dict[str, Any]]:
        pieces: dict[int, dict[int, bytes]] = {}
        with self.path.open("rb") as file:
            file.seek(SLOT)
            position = SLOT
            while chunk := file.read(_CHUNK):
                odd = len(chunk) % SLOT
                if odd:
                    self.problems.append(
                        f"{self.path.name}: the last {odd} bytes are no whole record"
                    )
                    chunk = chunk[:-odd]
                for offset, fields in enumerate(_RECORDS.iter_unpack(chunk)):
                    head = fields[2]
                    if head & 0xFF != NOTE:
                        if head:
                            yield fields
                        continue
                    at = position + offset * SLOT
                    note = self._fragment(pieces, chunk, offset * SLOT, at)
                    if note is not None:
                        yield note
                position += len(chunk)
        if pieces:
            self.problems.append(f"{self.path.name}: {len(pieces)} notes are incomplete")

    def _fragment(
        self, pieces: dict[int, dict[int, bytes]], chunk: bytes, offset: int, position: int
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
            except ValueError:
                note = None
            if isinstance(note, dict):
                return note
            self.problems.append(f"{self.path.name}: damaged note at byte {position}")
        return None
