"""Small logs of ended processes share a file: ten thousand of them would take forty megabytes and ten
thousand names. They are alike, so together they are compressed to a twentieth."""

from __future__ import annotations

import contextlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sockfsm import private
from sockfsm.errors import TraceError
from sockfsm.files import regular

PACKS = "*.packed"
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, zlib.error)
_LARGEST = 1 << 20


class Packed:
    """A log's file inside of a pack; reads like a path."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self._data = data

    def __str__(self) -> str:
        return self.name

    def open(self, _mode: str = "rb") -> BinaryIO:
        """Its bytes, to be read."""
        return io.BytesIO(self._data)

    def read_bytes(self) -> bytes:
        """All of its bytes."""
        return self._data


def pack(target: Path, sources: Iterable[Path | Packed]) -> None:
    """Write a new pack. It appears under its name when it is complete."""
    import gzip

    with private.replacing(target) as file, gzip.GzipFile("", "wb", 6, file, 0) as packed:
        for source in sources:
            data = source.read_bytes()
            about = {"log": source.name, "size": len(data)}
            packed.write(json.dumps(about).encode() + b"\n" + data)


def unpack(path: Path) -> Iterator[Packed]:
    """What is in a pack. TraceError, after what could be read, when it is damaged."""
    import gzip

    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(10_000):
                about = json.loads(line)
                name, size = about["log"], about["size"]
                if not isinstance(name, str) or not 0 <= size <= _LARGEST:
                    raise ValueError(name)
                data = file.read(size)
                if len(data) != size:
                    raise ValueError(name)
                yield Packed(name, data)
    except _DAMAGE:
        raise TraceError(f"{path.name}: damaged: some logs of ended processes are lost") from None


def opened(file: Path | Packed) -> BinaryIO:
    """A log's file, to be read, also one that has been packed since its folder was listed."""
    if isinstance(file, Packed):
        return file.open()
    try:
        return regular(file)
    except FileNotFoundError:
        for path in sorted(file.parent.glob(PACKS)):
            with contextlib.suppress(TraceError):
                for entry in unpack(path):
                    if entry.name == file.name:
                        return entry.open()
        raise


def pack_away(target: Path, sources: list[Path]) -> None:
    """Put files, packs among them, into a new pack and remove them once they can be read there.

    What vanished meanwhile is left out. A damaged pack stays: it tells that something is lost.
    """
    inside: list[tuple[str, int]] = []
    done: list[Path] = []

    def found() -> Iterator[Packed]:
        for source in sources:
            try:
                if source.match(PACKS):
                    entries = list(unpack(source))
                else:
                    entries = [Packed(source.name, source.read_bytes())]
            except (FileNotFoundError, TraceError):
                continue
            for entry in entries:
                inside.append((entry.name, zlib.crc32(entry.read_bytes())))
                yield entry
            done.append(source)

    pack(target, found())
    try:
        whole = inside == [(entry.name, zlib.crc32(entry.read_bytes())) for entry in unpack(target)]
    except TraceError:
        whole = False
    if not whole or not done:
        target.unlink(missing_ok=True)
        return
    for source in done:
        source.unlink(missing_ok=True)
