"""One direction of a TCP connection, counted: what one end sent.

Sequence arithmetic is modulo 2**32 (RFC 9293, 3.4).
"""

from __future__ import annotations

from sockfsm.trace.events import Packet

MODULO = 0xFFFFFFFF
HALF = 0x80000000
MOST_GAPS = 32

End = tuple[str, int]


def distance(a: int, b: int) -> int:
    """How far sequence number `a` lies ahead of `b`; negative when behind."""
    return ((a - b + HALF) & MODULO) - HALF


class Side:
    """One direction of a stream: what `end` sent."""

    __slots__ = (
        "acked",
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
        "packets",
        "retransmitted",
        "rst",
        "segments",
        "stray_ack",
        "strays",
        "syn",
        "syns",
        "unanswered",
        "window_closed",
        "zero_windows",
    )

    def __init__(self, end: End) -> None:
        self.end = end
        self.isn: int | None = None  # sequence number of its SYN
        self.next: int | None = None  # the sequence number after the highest that it sent
        self.acked: int | None = None  # the last acknowledgement that it sent
        self.syn: Packet | None = None
        self.syns = 0
        self.fin: Packet | None = None
        self.fin_acked: Packet | None = None  # the other end's acknowledgement of it
        self.rst: Packet | None = None
        self.doubtful: Packet | None = None  # an RST of a number that the other end does not expect
        self.far: int | None = None  # what would follow the last data far outside the window
        self.strays = 0  # packets that the other end must ignore
        self.stray_ack: int | None = None
        self.unanswered = (0, 0)  # retransmissions since the other end's n-th packet, n
        self.packets = self.segments = self.bytes = 0
        self.retransmitted = self.late = 0
        self.zero_windows = 0
        self.window_closed = False
        self.first_data: int | None = None
        self.last_data: int | None = None
        self.gaps: list[tuple[int, int]] = []

    def relative(self, seq: int) -> int:
        """`seq` counted from this side's first sequence number."""
        return (seq - self.isn) & MODULO if self.isn is not None else seq

    def take(self, packet: Packet) -> None:
        """Count one segment with data, SYN or FIN."""
        seq, length = packet.seq, packet.length
        extra = ("S" in packet.flags) + ("F" in packet.flags)
        if length:
            self.segments += 1
            self.last_data = packet.time
            if self.first_data is None:
                self.first_data = packet.time
        if self.next is None:
            self.next = (seq + length + extra) & MODULO
            self.bytes += length
            return
        ahead = distance(seq, self.next)
        if ahead >= 0:
            if ahead:
                self._gap(self.next, seq)
            self.next = (seq + length + extra) & MODULO
            self.bytes += length
            return
        beyond = ahead + length + extra
        if length <= 1 and ahead == -1 and not extra:
            return  # a keep-alive probes with one old byte, or none
        if self._fills(seq, length):
            self.late += 1
        elif beyond <= 0 or extra == 0:
            self.retransmitted += 1
        if beyond > 0:
            self.bytes += max(beyond - extra, 0)
            self.next = (self.next + beyond) & MODULO

    def _gap(self, start: int, end: int) -> None:
        if len(self.gaps) < MOST_GAPS:
            self.gaps.append((start, end))

    def _fills(self, seq: int, length: int) -> bool:
        """Whether a segment closes (part of) a gap: it came late, or the first copy was lost."""
        for index, (start, end) in enumerate(self.gaps):
            if distance(seq, start) >= 0 and distance(seq + length, end) <= 0 and length:
                self.bytes += length
                rest = [(start, seq), ((seq + length) & MODULO, end)]
                self.gaps[index : index + 1] = [(a, b) for a, b in rest if a != b]
                return True
        return False

    @property
    def missing(self) -> int:
        """Bytes that it must have sent and that the capture does not hold."""
        return sum((end - start) & MODULO for start, end in self.gaps)
