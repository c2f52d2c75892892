"""Capture files: a streaming reader of pcap and pcapng (gzip too), and `keep`, which thins one out.

The reader takes what can be read and names the rest in `problems`; memory stays bounded whatever
the file holds. Sources: draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from sockfsm.errors import TraceError
from sockfsm.trace.events import Packet
from sockfsm.wire import blocks

CHUNK = 1 << 18  # what stays in the processor's cache
BATCH = 1 << 14  # bytes whose packets are made at once; more keep the garbage collector busy
LARGEST = 1 << 24  # a longer block or packet is damage, not data
_NS = 1_000_000_000
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_CLOCK = re.compile(r"wall = monotonic \+ (-?\d{1,20}) ns, error (\d{1,20}) ns")

# (wall time in ns since the epoch, link type, captured bytes, length on the wire)
Frame = tuple[int, int, bytes, int]
_Batch = tuple[Sequence[Frame], Sequence[Packet]]


class Clock(NamedTuple):
    """wall = monotonic + offset, wrong by at most `error`; ns."""

    offset: int
    error: int


class _Interface(NamedTuple):
    link: int
    ticks: int  # a second has that many
    offset: int  # ns to add


_PLAIN = _Interface(1, _NS, 0)  # ethernet, in ns: what a fast decoder knows


class FrameDecoder(Protocol):
    """Makes packets of frames: see `sockfsm.wire.headers.Decoder`."""

    def run(self, data: bytes, place: int) -> tuple[list[Packet], int]:
        """Of the packet blocks from `place` on, in network order: (packets, where it stopped)."""

    def decode(self, frame: Frame) -> Packet | None:
        """Of any frame."""


class _Unpacked:
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

    def __enter__(self) -> _Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class _Buffered:
    """A file as one growing window: `data` from `place` on is what was not used yet."""

    def __init__(self, stream: BinaryIO | _Unpacked) -> None:
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


class CaptureFile:
    """One capture file. Iterate it for its frames; then `problems` and the rest are complete.

    problems: one line for each thing that could not be read. dropped: packets that the capturing
    kernel lost, None where the file does not tell. clock: of a capture of ours. complete: the file
    ends with statistics, as ours do unless the capture was killed. Raises TraceError for a file
    that is missing or no capture at all.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[str] = []
        self.comments: list[str] = []
        self.dropped: int | None = None
        self.clock: Clock | None = None
        self.complete = False
        with self._open() as stream:
            magic = self._first(stream)
        if magic != _PCAPNG and magic not in _PCAP:
            raise TraceError(f"{self.path}: no capture file (pcap or pcapng, gzip or not)")
        self._magic = magic
        if magic == _PCAPNG:
            self._peek()

    def _open(self) -> BinaryIO | _Unpacked:
        try:
            stream = open(self.path, "rb")  # noqa: SIM115
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
        except OSError as error:
            raise TraceError(f"{self.path}: {error.strerror}") from None
        return _Unpacked(stream) if packed else stream

    def _first(self, stream: BinaryIO | _Unpacked) -> bytes:
        try:
            return stream.read(4)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError(f"{self.path}: {error}") from None

    def _peek(self) -> None:
        """Learn the clock before the first packet is asked for."""
        for _ in self:
            break
        self.problems.clear()

    def __iter__(self) -> Iterator[Frame]:
        return chain.from_iterable(frames for frames, _ in self._batches(None))

    def packets(self, decoder: FrameDecoder, problems: list[str] | None = None) -> Iterator[Packet]:
        """What `decoder` makes of the frames, in their order; at the end, adds to `problems`."""
        return chain.from_iterable(self._packets(decoder, problems))

    def _packets(
        self, decoder: FrameDecoder, problems: list[str] | None
    ) -> Iterator[Iterable[Packet]]:
        for frames, packets in self._batches(decoder):
            yield packets or filter(None, map(decoder.decode, frames))
        if problems is not None:
            problems += self.problems

    def _batches(self, decoder: FrameDecoder | None) -> Iterator[_Batch]:
        """Frames, or packets that `decoder` made at once."""
        self.problems.clear()
        self.comments.clear()
        self.dropped, self.complete = None, False
        with self._open() as stream:
            window = _Buffered(stream)
            try:
                if self._magic == _PCAPNG:
                    yield from self._pcapng(window, decoder)
                else:
                    yield from self._pcap(window)
            except (OSError, EOFError, zlib.error) as error:
                self.problems.append(f"after byte {window.position}: {error}")
            except OverflowError:
                self.problems.append(f"at byte {window.position}: a nonsense time")

    def _cut(self, window: _Buffered) -> None:
        if window.left:
            text = f"ends in the middle of a packet at byte {window.position}"
            self.problems.append(f"{text}, {window.left} bytes are left over")

    # -- pcap ------------------------------------------------------------------------------

    def _pcap(self, window: _Buffered) -> Iterator[_Batch]:
        order, scale = _PCAP[self._magic]
        if not window.has(24):
            self._cut(window)
            return
        link = struct.unpack_from(order + "I", window.data, 20)[0] & 0xFFFF
        window.place = 24
        unpack = struct.Struct(order + "IIII").unpack_from
        kept = 0
        while window.has(16 + kept):
            place, data, frames = window.place, window.data, []
            stop = min(len(data) - 16, place + BATCH)
            while place <= stop:
                seconds, fraction, kept, length = unpack(data, place)
                ahead = place + 16 + kept
                if ahead > len(data):
                    break
                wall = seconds * _NS + fraction * scale
                frames.append((wall, link, data[place + 16 : ahead], length))
                place, kept = ahead, 0
            window.place = place
            yield frames, ()
            if kept > LARGEST:
                self.problems.append(f"damaged packet header at byte {window.position}")
                return
        self._cut(window)

    # -- pcapng ----------------------------------------------------------------------------

    def _pcapng(self, window: _Buffered, decoder: FrameDecoder | None) -> Iterator[_Batch]:
        order = "<"
        interfaces: list[_Interface] = []
        unpack = struct.Struct("<IIIIIII").unpack_from
        last = 0
        while window.has(12):
            if decoder and order == ">" and interfaces[:1] == [_PLAIN]:
                packets, window.place = decoder.run(window.data, window.place)
                if packets:
                    yield (), packets
                    continue
            place, data = window.place, window.data
            # The common case first, in few steps: enhanced packets that are all there.
            limit, frames = len(data), []
            stop = min(limit - 32, place + BATCH)
            while place <= stop:
                kind, total, number, high, low, kept, length = unpack(data, place)
                ahead = place + total
                if kind != 6 or ahead > limit or kept + 32 > total or total & 3:
                    break
                if number >= len(interfaces):
                    break
                link, ticks, offset = interfaces[number]
                last = (high << 32) | low
                if ticks != _NS or offset:
                    last = last * _NS // ticks + offset
                frames.append((last, link, data[place + 28 : place + 28 + kept], length))
                place = ahead
            window.place = place
            if frames:
                yield frames, ()
            if not window.has(12):
                break
            place, data = window.place, window.data
            if data[place : place + 4] == _PCAPNG:
                order = ">" if data[place + 8 : place + 12] == b"\x1a\x2b\x3c\x4d" else "<"
                unpack = struct.Struct(order + "IIIIIII").unpack_from
                interfaces = []
            kind, total = struct.unpack_from(order + "II", data, place)
            if total < 12 or total & 3 or total > LARGEST:
                self.problems.append(f"damaged block at byte {window.position}")
                return
            if not window.has(total):
                break
            place, data = window.place, window.data
            body = data[place + 8 : place + total - 4]
            if kind == blocks.ENHANCED and len(body) >= 20 and self._whole(window, body, order):
                number = struct.unpack_from(order + "I", body)[0]
                if number < len(interfaces):
                    continue  # it is in the window now: the common case takes it
                self.problems.append(f"packet of an unknown interface at byte {window.position}")
            elif kind in (blocks.SIMPLE, 2) and interfaces:
                frame = self._old_packet(kind, body, order, interfaces, last)
                if frame:
                    yield (frame,), ()
            elif not self._other(kind, body, order, interfaces):
                self.problems.append(f"damaged block at byte {window.position}")
            window.place += total
        self._cut(window)

    @staticmethod
    def _whole(window: _Buffered, body: bytes, order: str) -> bool:
        kept: int = struct.unpack_from(order + "I", body, 12)[0]
        return kept + 20 <= len(body)

    def _old_packet(
        self, kind: int, body: bytes, order: str, interfaces: list[_Interface], last: int
    ) -> Frame | None:
        """A simple packet block, which has no time of its own, or an obsolete packet block."""
        if kind == blocks.SIMPLE and len(body) >= 4:
            length = struct.unpack_from(order + "I", body)[0]
            return last, interfaces[0].link, body[4 : 4 + length], length
        if kind == 2 and len(body) >= 20:
            number, _, high, low, kept, length = struct.unpack_from(order + "HHIIII", body)
            if number < len(interfaces) and kept + 20 <= len(body):
                link, ticks, offset = interfaces[number]
                wall = ((high << 32) | low) * _NS // ticks + offset
                return wall, link, body[20 : 20 + kept], length
        self.problems.append("damaged packet block")
        return None

    def _other(self, kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> bool:
        """Take in a block that is no packet; False when it is damaged."""
        if kind == blocks.SECTION and len(body) >= 16:
            for code, value in _options(body[16:], order):
                if code == blocks.COMMENT:
                    self._comment(value.decode(errors="replace"))
        elif kind == blocks.INTERFACE and len(body) >= 8:
            if len(interfaces) < 65536:
                interfaces.append(_described(body, order))
        elif kind == blocks.STATISTICS and len(body) >= 12:
            self.complete = True
            for code, value in _options(body[12:], order):
                if code == blocks.ISB_IFDROP and len(value) == 8:
                    lost = struct.unpack(order + "Q", value)[0]
                    self.dropped = (self.dropped or 0) + lost
        elif kind in (blocks.SECTION, blocks.INTERFACE, blocks.STATISTICS, blocks.ENHANCED):
            return False
        return True

    def _comment(self, text: str) -> None:
        self.comments.append(text)
        found = _CLOCK.search(text)
        if found and self.clock is None:
            self.clock = Clock(int(found[1]), int(found[2]))


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, place)
        if code == 0:
            return
        yield code, data[place + 4 : place + 4 + size]
        place += 4 + size + (-size % 4)


def _described(body: bytes, order: str) -> _Interface:
    link = struct.unpack_from(order + "H", body)[0]
    ticks, offset = 1_000_000, 0
    for code, value in _options(body[8:], order):
        if code == blocks.IF_TSRESOL and len(value) == 1:
            power = value[0] & 0x7F
            ticks = 2**power if value[0] & 0x80 else 10**power
        elif code == blocks.IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0] * _NS
    return _Interface(link, ticks, offset)


def keep(path: Path, wanted: Callable[[Frame], bool]) -> tuple[int, int]:
    """Rewrite a capture of ours with the wanted frames alone: (kept, left out).

    A file that has no others is left as it is. Else it is replaced at once: whoever reads it sees
    the old one or the new one. When the disk has no room for the new one, the old one stays, and
    TraceError says so.
    """
    source = CaptureFile(path)
    if all(map(wanted, source)):
        return sum(1 for _ in source), 0
    fresh = path.with_name(path.name + ".part")
    kept = left = 0
    try:
        with open(fresh, "wb") as target:
            number: dict[int, int] = {}
            last = first = 0
            comment = source.comments[0] if source.comments else f"kept of {path.name}"
            target.write(blocks.section(comment))
            for frame in source:
                last = frame[0]
                first = first or last
                if not wanted(frame):
                    left += 1
                    continue
                kept += 1
                wall, link, data, length = frame
                if link not in number:
                    number[link] = len(number)
                    target.write(blocks.interface(link, 65535, "lo"))
                target.write(blocks.packet(number[link], wall, data, length))
            if not number:
                target.write(blocks.interface(1, 65535, "lo"))
            if source.complete:
                lost = source.dropped or 0
                text = f"{lost} packets dropped by the kernel, {left} of other connections left out"
                target.write(blocks.statistics(0, first, last, kept + left + lost, lost, text))
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TraceError(f"{path}: cannot be rewritten: {error.strerror}") from None
    return kept, left
