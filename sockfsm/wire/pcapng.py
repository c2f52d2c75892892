"""A streaming reader of capture files: pcap and pcapng, compressed by gzip or not.

It reads what can be read and names the rest in `problems`. Memory stays bounded whatever the file
holds. Sources: draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from sockfsm.errors import TraceError
from sockfsm.events import Packet
from sockfsm.files import regular
from sockfsm.wire import blocks
from sockfsm.wire.buffer import FileBuffer, Unpacked

BATCH = 1 << 14  # bytes decoded at once; with more, the garbage collector has more to look through
LARGEST = 1 << 24  # bytes; a longer block or packet is damage, not data
_LONGEST_NAME = 64
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


class ClockOffset(NamedTuple):
    """wall = monotonic + offset, wrong by at most `error`; ns."""

    offset: int
    error: int


class _Interface(NamedTuple):
    link: int
    ticks: int  # per second
    offset: int  # ns to add to each time


_PLAIN = _Interface(1, _NS, 0)  # ethernet with times in ns: what `FrameDecoder.run` can decode


_READ_ON: Frame = (0, 0, b"", 0)
"""In place of a frame: the block is in the buffer by now, so the fast path can take it."""


class _Section:
    """The byte order and the interfaces of a section. last: the time of its latest packet."""

    def __init__(self, order: str = "<", last: int = 0) -> None:
        self.order = order
        self.last = last
        self.interfaces: list[_Interface] = []
        self._unpack = struct.Struct(order + "IIIIIII").unpack_from

    def at(self, place: int, data: bytes) -> _Section:
        """The section that the block at `place` belongs to; it may begin one."""
        if data[place : place + 4] != _PCAPNG:
            return self
        big = data[place + 8 : place + 12] == b"\x1a\x2b\x3c\x4d"
        return _Section(">" if big else "<", self.last)

    def frames(self, buffer: FileBuffer) -> list[Frame]:
        """The fast path: the next packet blocks, as far as they are completely in the buffer."""
        place, data, unpack, interfaces = buffer.place, buffer.data, self._unpack, self.interfaces
        limit, frames = len(data), list[Frame]()
        stop = min(limit - 32, place + BATCH)
        while place <= stop:
            kind, total, number, high, low, kept, length = unpack(data, place)
            ahead = place + total
            if kind != 6 or ahead > limit or kept + 32 > total or total & 3:
                break
            if number >= len(interfaces):
                break
            link, ticks, offset = interfaces[number]
            time = (high << 32) | low
            if ticks != _NS or offset:
                time = time * _NS // ticks + offset
            frames.append((time, link, data[place + 28 : place + 28 + kept], length))
            place = ahead
        buffer.place = place
        if frames:
            self.last = frames[-1][0]
        return frames


class SupportsDecoding(Protocol):
    """What `CaptureFile.packets` needs to make packets; `sockfsm.wire.headers.FrameDecoder` has it."""

    def run(self, data: bytes, place: int) -> tuple[list[Packet], int]:
        """Decode packet blocks in network order from `place` on: (packets, where it stopped)."""

    def decode(self, frame: Frame) -> Packet | None:
        """Decode any frame."""


class CaptureFile:
    """One capture file. Iterate over it for its frames; the attributes are complete after that.

    problems: one line for each thing that could not be read. dropped: how many packets the capturing
    kernel lost, None if the file does not say. clock: of a capture of ours, else None. complete: the
    file ends with statistics, as ours do unless the capture was killed. names: link type -> name of
    the interface, where the file says it. TraceError for a file that is missing or is no capture.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[str] = []
        self.comments: list[str] = []
        self.dropped: int | None = None
        self.clock: ClockOffset | None = None
        self.complete = False
        self.names: dict[int, str] = {}
        with self._open() as stream:
            magic = self._first(stream)
        if magic != _PCAPNG and magic not in _PCAP:
            raise TraceError(f"{self.path}: no capture file (pcap or pcapng, gzip or not)")
        self._magic = magic
        if magic == _PCAPNG:
            self._peek()

    def _open(self) -> BinaryIO | Unpacked:
        try:
            stream = regular(self.path)
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
        except OSError as error:
            raise TraceError(f"{self.path}: {error.strerror}") from None
        return Unpacked(stream) if packed else stream

    def _first(self, stream: BinaryIO | Unpacked) -> bytes:
        try:
            return stream.read(4)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError(f"{self.path}: {error}") from None

    def _peek(self) -> None:
        """Read up to the first frame, so that the clock is known before packets are decoded."""
        for _ in self:
            break
        self.problems.clear()  # reading the file will find them again

    def __iter__(self) -> Iterator[Frame]:
        return chain.from_iterable(frames for frames, _ in self._batches(None))

    def packets(
        self, decoder: SupportsDecoding, problems: list[str] | None = None
    ) -> Iterator[Packet]:
        """Yield the packets that `decoder` makes of the frames; at the end, add to `problems`."""
        return chain.from_iterable(self._packets(decoder, problems))

    def _packets(
        self, decoder: SupportsDecoding, problems: list[str] | None
    ) -> Iterator[Iterable[Packet]]:
        for frames, packets in self._batches(decoder):
            yield packets or filter(None, map(decoder.decode, frames))
        if problems is not None:
            problems += [problem for problem in self.all_problems if problem not in problems]

    @property
    def all_problems(self) -> list[str]:
        """After the last frame: what could not be read, and what the capture says it has lost."""
        lines = [*self.problems]
        if self.dropped:
            lines.append(f"{self.dropped} packets were dropped by the kernel that captured")
        if self.clock is not None and not self.complete and not self.problems:
            lines.append("the capture was killed or still runs: its last packets may be missing")
        return lines

    def _batches(self, decoder: SupportsDecoding | None) -> Iterator[_Batch]:
        """Yield (frames, ()), or ((), packets) where `decoder` took the fast path."""
        self.problems.clear()
        self.comments.clear()
        self.dropped, self.complete = None, False
        with self._open() as stream:
            buffer = FileBuffer(stream)
            try:
                if self._magic == _PCAPNG:
                    yield from self._pcapng(buffer, decoder)
                else:
                    yield from self._pcap(buffer)
            except (OSError, EOFError, zlib.error) as error:
                self.problems.append(f"after byte {buffer.position}: {error}")
            except OverflowError:
                self.problems.append(f"at byte {buffer.position}: an impossible time")

    def _cut(self, buffer: FileBuffer) -> None:
        if buffer.left:
            text = f"ends in the middle of a packet at byte {buffer.position}"
            self.problems.append(f"{text}, {buffer.left} bytes are left over")

    # -- pcap ------------------------------------------------------------------------------

    def _pcap(self, buffer: FileBuffer) -> Iterator[_Batch]:
        order, scale = _PCAP[self._magic]
        if not buffer.has(24):
            self._cut(buffer)
            return
        link = struct.unpack_from(order + "I", buffer.data, 20)[0] & 0xFFFF
        buffer.place = 24
        unpack = struct.Struct(order + "IIII").unpack_from
        kept = 0
        # `kept` is not 0 after a packet that reaches beyond the buffer: then that much more is read
        # first.
        while buffer.has(16 + kept):
            place, data, frames = buffer.place, buffer.data, []
            stop = min(len(data) - 16, place + BATCH)
            while place <= stop:
                seconds, fraction, kept, length = unpack(data, place)
                ahead = place + 16 + kept
                if ahead > len(data):
                    break
                wall = seconds * _NS + fraction * scale
                frames.append((wall, link, data[place + 16 : ahead], length))
                place, kept = ahead, 0
            buffer.place = place
            yield frames, ()
            if kept > LARGEST:
                self.problems.append(f"damaged packet header at byte {buffer.position}")
                return
        self._cut(buffer)

    # -- pcapng ----------------------------------------------------------------------------

    def _pcapng(self, buffer: FileBuffer, decoder: SupportsDecoding | None) -> Iterator[_Batch]:
        section = _Section()
        while buffer.has(12):
            if decoder and section.order == ">" and section.interfaces[:1] == [_PLAIN]:
                packets, buffer.place = decoder.run(buffer.data, buffer.place)
                if packets:
                    yield (), packets
                    continue
            if frames := section.frames(buffer):
                yield frames, ()
            if not buffer.has(12):
                break
            place, data = buffer.place, buffer.data
            section = section.at(place, data)
            kind, total = struct.unpack_from(section.order + "II", data, place)
            if total < 12 or total & 3 or total > LARGEST:
                self.problems.append(f"damaged block at byte {buffer.position}")
                return
            if not buffer.has(total):
                break
            place, data = buffer.place, buffer.data
            frame = self._block(kind, data[place + 8 : place + total - 4], section, buffer.position)
            if frame is _READ_ON:
                continue
            buffer.place += total
            if frame:
                yield (frame,), ()
        self._cut(buffer)

    def _block(self, kind: int, body: bytes, section: _Section, position: int) -> Frame | None:
        """Handle a block that is not on the fast path: its frame, if it has one, or _READ_ON."""
        order, interfaces = section.order, section.interfaces
        if kind == blocks.ENHANCED and len(body) >= 20 and _whole(body, order):
            if struct.unpack_from(order + "I", body)[0] < len(interfaces):
                return _READ_ON
            self.problems.append(f"packet of an unknown interface at byte {position}")
        elif kind in (blocks.SIMPLE, 2) and interfaces:
            return self._old_packet(kind, body, order, interfaces, section.last)
        elif not self._other(kind, body, order, interfaces):
            self.problems.append(f"damaged block at byte {position}")
        return None

    def _old_packet(
        self, kind: int, body: bytes, order: str, interfaces: list[_Interface], last: int
    ) -> Frame | None:
        """The frame of a simple packet block, which has no time, or of an obsolete packet block."""
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
        """Handle a block that is no packet; False if it is damaged."""
        if kind == blocks.SECTION and len(body) >= 16:
            for value in _values(blocks.COMMENT, body[16:], order):
                self._comment(value.decode(errors="replace"))
        elif kind == blocks.INTERFACE and len(body) >= 8:
            self._interface(body, order, interfaces)
        elif kind == blocks.STATISTICS and len(body) >= 12:
            self.complete = True
            for value in _values(blocks.ISB_IFDROP, body[12:], order):
                if len(value) == 8:
                    self.dropped = (self.dropped or 0) + struct.unpack(order + "Q", value)[0]
        else:
            known = (blocks.SECTION, blocks.INTERFACE, blocks.STATISTICS, blocks.ENHANCED)
            return kind not in known
        return True

    def _interface(self, body: bytes, order: str, interfaces: list[_Interface]) -> None:
        if len(interfaces) >= 65536:
            return  # bounds the memory; packets of further interfaces count as damaged
        interfaces.append(_described(body, order))
        for value in _values(blocks.IF_NAME, body[8:], order):
            name = value[:_LONGEST_NAME].decode(errors="replace")
            self.names.setdefault(interfaces[-1].link, name)

    def _comment(self, text: str) -> None:
        self.comments.append(text)
        match = _CLOCK.search(text)
        if match and self.clock is None:
            self.clock = ClockOffset(int(match[1]), int(match[2]))


def _whole(body: bytes, order: str) -> bool:
    """Whether an enhanced packet block has all the bytes that it says it has."""
    kept: int = struct.unpack_from(order + "I", body, 12)[0]
    return kept + 20 <= len(body)


def _values(wanted: int, data: bytes, order: str) -> list[bytes]:
    """The values of the options with the code `wanted`."""
    return [value for code, value in _options(data, order) if code == wanted]


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
    ticks, offset = 1_000_000, 0  # microseconds, unless the options say otherwise
    for code, value in _options(body[8:], order):
        if code == blocks.IF_TSRESOL and len(value) == 1:
            power = value[0] & 0x7F
            ticks = 2**power if value[0] & 0x80 else 10**power  # the top bit chooses the base
        elif code == blocks.IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0] * _NS
    return _Interface(link, ticks, offset)
