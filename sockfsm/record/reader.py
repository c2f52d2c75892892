"""Reads a call log, also one that is still being written or was cut short by a killed program."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sockfsm.errors import TraceError
from sockfsm.record.layout import FRAGMENT, MAGIC, NOTE, SLOT, STANDARD
from sockfsm.record.names import split
from sockfsm.record.packs import Packed, opened
from sockfsm.record.writer import Fields

_RECORDS = struct.Struct(STANDARD)
_CHUNK = SLOT * 16384


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
            if magic.strip(b"\0") and magic != MAGIC:
                raise TraceError(
                    f"{file}: not a call log of this version of sockfsm (bad first bytes)"
                )

    def __iter__(self) -> Iterator[Fields | dict[str, Any]]:
        self.pieces, self._upto = {}, 0
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
            while chunk := file.read(_CHUNK):
                odd = len(chunk) % SLOT
                if odd:
                    self.problems.append(f"{name}: the last {odd} bytes are no whole record")
                    chunk = chunk[:-odd]
                for offset, fields in enumerate(_RECORDS.iter_unpack(chunk)):
                    head = fields[2]
                    if head & 0xFF != NOTE:
                        if head:
                            yield fields
                        continue
                    at = position + offset * SLOT
                    note = self._fragment(self.pieces, chunk, offset * SLOT, at, name)
                    if note is not None:
                        upto = note.get("thinned")
                        if isinstance(upto, int):
                            self._upto = upto
                        yield note
                position += len(chunk)

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
