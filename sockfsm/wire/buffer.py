"""Reads a file, compressed by gzip or not, through a buffer that grows on demand."""

from __future__ import annotations

import zlib
from typing import BinaryIO

CHUNK = 1 << 18  # bytes; small enough to stay in the processor's cache


class Unpacked:
    """Reads a gzip file as far as it goes. The module `gzip` returns nothing of a truncated chunk."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.unpacker = zlib.decompressobj(31)
        self.packed = b""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; EOFError at the end of a truncated file."""
        while True:
            if self.unpacker.eof:
                # A gzip file may consist of several members, one after the other.
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


class FileBuffer:
    """A part of a file in memory. `data` from `place` on has not been used yet."""

    def __init__(self, stream: BinaryIO | Unpacked) -> None:
        self.stream = stream
        self.data = b""
        self.place = 0
        self.passed = 0  # bytes of the file before `data`

    def has(self, size: int) -> bool:
        """Whether `size` bytes lie ahead. Reads on until they do, or the file ends."""
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
