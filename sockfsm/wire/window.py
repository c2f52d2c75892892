"""A file, gzip or not, read through a window that grows as it is asked to."""

from __future__ import annotations

import zlib
from typing import BinaryIO

CHUNK = 1 << 18  # what stays in the processor's cache


class Unpacked:
    """A gzip file, read as far as it goes: `gzip` gives nothing of a chunk that is cut."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.unpacker = zlib.decompressobj(31)
        self.packed = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; EOFError after the last ones of a file that is cut."""
        while True:
            if self.unpacker.eof:
                self.packed = self.unpacker.unused_data or self.stream.read(CHUNK)
                if not self.packed:
                    return b""
                self.unpacker = zlib.decompressobj(31)
            self.packed = self.packed or self.stream.read(CHUNK)
            data = self.unpacker.decompress(self.packed, size)
            end = not self.packed
            self.packed = self.unpacker.unconsumed_tail
            if data:
                return data
            if end and not self.unpacker.eof:
                raise EOFError("the gzip file is cut")

    def __enter__(self) -> Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class Window:
    """A file as one growing window: `data` from `place` on is what was not used yet."""

    def __init__(self, stream: BinaryIO | Unpacked) -> None:
        self.stream = stream
        self.data = b""
        self.place = 0
        self.passed = 0  # bytes of the file before `data`

    def has(self, size: int) -> bool:
        """Whether `size` bytes lie ahead, reading on where they do not yet."""
        while len(self.data) - self.place < size:
            more = self.stream.read(CHUNK)
            if not more:
                return False
            self.passed += self.place
            self.data = self.data[self.place :] + more
            self.place = 0
        return True

    @property
    def position(self) -> int:
        return self.passed + self.place

    @property
    def left(self) -> int:
        return len(self.data) - self.place
