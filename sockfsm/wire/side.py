"""One direction of a TCP connection: what one end sent, and how far its stream has got."""

from __future__ import annotations

from typing import NamedTuple

from sockfsm.events import Endpoint, Packet
from sockfsm.wire.sequence import MASK, Seq

# The most gaps that are remembered for one direction, a bound on memory. When there are more at a
# time, `missing` is too small.
MOST_GAPS = 32


class Span(NamedTuple):
    """The bytes of the sender's stream that a segment carries: from `start` up to `end`, exclusive.

    Byte 0 is the one after SYN, or the first that was captured. again: the capture has all of them
    already. fills: some of them fill a gap, because they come late or their first copy was lost before
    the capture.
    """

    start: int
    end: int
    again: bool = False
    fills: bool = False


class Side:
    """What the endpoint `end` sent on one connection."""

    __slots__ = (
        "acked",
        "answered",
        "base",
        "bytes",
        "doubtful",
        "end",
        "far",
        "fin",
        "fin_acked",
        "first_data",
        "gaps",
        "isn",
        "last_data",
        "late",
        "next",
        "offset",
        "packets",
        "retransmitted",
        "rst",
        "segments",
        "syn",
        "syns",
        "unacceptable",
        "unacceptable_ack",
        "unanswered",
        "window",
        "zero_windows",
    )

    def __init__(self, end: Endpoint) -> None:
        self.end = end
        self.isn: int | None = None  # sequence number of its SYN
        self.base: int | None = None  # relative numbers count from here: its SYN's, if captured
        self.next: int | None = None  # the sequence number after the highest that it sent
        self.offset = 0  # the place of `next` in its stream
        self.acked: int | None = None  # the last acknowledgement that it sent
        self.window = -1  # the last receive window that it offered, not scaled; -1: none yet
        self.syn: Packet | None = None
        self.syns = 0
        self.answered = False  # it has sent a SYN-ACK
        self.fin: Packet | None = None
        self.fin_acked: Packet | None = None  # the other end's acknowledgement of it
        self.rst: Packet | None = None
        self.doubtful: Packet | None = (
            None  # an RST with a number that the other end does not expect
        )
        self.far: int | None = None  # the number after its last data far outside the window
        self.unacceptable = 0  # packets that the other end must ignore
        self.unacceptable_ack: int | None = None
        self.unanswered = (0, 0)  # (retransmissions since the other end's n-th packet, n)
        self.packets = self.segments = self.bytes = 0
        self.retransmitted = self.late = 0
        self.zero_windows = 0
        self.first_data: int | None = None
        self.last_data: int | None = None
        self.gaps: list[tuple[int, int]] = []  # (start, end) of stream bytes that were skipped

    def relative(self, seq: int) -> int:
        """`seq` counted from this side's first sequence number, modulo 2**32."""
        return seq - self.base & MASK if self.base is not None else seq

    def take(self, packet: Packet) -> Span:
        """Count one segment with data, SYN or FIN."""
        seq, length, syn, fin = packet.seq, packet.length, "S" in packet.flags, "F" in packet.flags
        if length:
            self.segments += 1
            self.last_data = packet.time
            if self.first_data is None:
                self.first_data = packet.time
        if self.next is None:
            self.next, self.offset = seq, -1 if syn else 0
        # From here on work with offsets in the stream: they do not wrap around as numbers do.
        known = self.offset
        first = known + (Seq(seq) - self.next)
        start = first + syn  # SYN and FIN each take a sequence number, but carry no byte
        end = start + length
        following = end + fin
        if first < known and length <= 1 and following == known and not (syn or fin):
            return Span(start, end, again=True)  # a keep-alive repeats one old byte, or none
        fills = first < known and self._fills(start, min(end, known))
        if first > known and len(self.gaps) < MOST_GAPS:
            self.gaps.append((known, first))
        if fills:
            self.late += 1
        elif first < known and (following <= known or not (syn or fin)):
            self.retransmitted += 1
        if following > known:
            # A retransmission may carry new bytes as well. Each byte counts once.
            self.bytes += max(end - max(start, known), 0)
            self.next, self.offset = Seq(self.next) + (following - known), following
            if not fills:
                start = max(start, known)
        return Span(start, end, again=following <= known and not fills, fills=fills)

    def _fills(self, start: int, end: int) -> bool:
        """Whether a segment fills a gap, or part of one; then the gap shrinks."""
        for place, (first, last) in enumerate(self.gaps):
            if start < last and end > first:
                self.bytes += min(end, last) - max(start, first)
                rest = [(first, max(start, first)), (min(end, last), last)]
                self.gaps[place : place + 1] = [(a, b) for a, b in rest if a < b]
                return True
        return False

    @property
    def missing(self) -> int:
        """Bytes that it must have sent but that were not captured."""
        return sum(last - first for first, last in self.gaps)
