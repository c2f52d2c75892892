"""Packets to connections: TCP streams and UDP conversations, counted as the packets go by.

Nothing of a plain data segment is kept but counts; the packets of openings and closings are, in
bounded number, so that memory grows with the connections and not with the packets. Sequence
arithmetic is modulo 2**32 (RFC 9293, 3.4).
"""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.trace.events import Packet
from sockfsm.wire.headers import ACK, PLAIN, Decoder
from sockfsm.wire.pcapng import Frame

MODULO = 0xFFFFFFFF
HALF = 0x80000000
MOST_NOTABLE = 64  # packets kept of an opening and of a closing
MOST_GAPS = 32
MOST_KNOWN = 1 << 17

End = tuple[str, int]


def distance(a: int, b: int) -> int:
    """How far sequence number `a` lies ahead of `b`; negative when behind."""
    return ((a - b + HALF) & MODULO) - HALF


class Side:
    """One direction of a stream: what `end` sent."""

    __slots__ = (
        "acked",
        "bytes",
        "end",
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
        "syn",
        "syns",
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


class Stream:
    """One TCP connection as the capture shows it. `sides[0]` sent the first SYN or packet."""

    __slots__ = (
        "begin",
        "closing",
        "closing_left_out",
        "end",
        "opened",
        "opening",
        "quiet",
        "sides",
    )

    def __init__(self, packet: Packet) -> None:
        client, server = packet.source, packet.target
        if "S" in packet.flags and "A" in packet.flags:
            client, server = server, client
        self.sides = (Side(client), Side(server))
        self.begin = packet.time
        self.end = packet.time
        self.opening: list[Packet] = []
        self.closing: list[Packet] = []
        self.closing_left_out = 0
        self.opened: Packet | None = None  # the acknowledgement that ended the opening
        self.quiet = False  # established and nobody closes: plain segments need no look

    def side(self, packet: Packet) -> tuple[Side, Side]:
        """The sender's side and the other one."""
        first, second = self.sides
        return (first, second) if packet.source == first.end else (second, first)

    def continued_by(self, packet: Packet) -> bool:
        """Whether a SYN without ACK belongs here: repeated, or of the other end (simultaneous)."""
        sender, other = self.side(packet)
        if sender.isn is not None:
            return packet.seq == sender.isn
        return other.syn is not None and "A" not in other.syn.flags and other.next is not None

    def add(self, packet: Packet, sender: Side, other: Side) -> None:
        """Any segment that is not plain data on an open connection."""
        flags = packet.flags
        self.end = packet.time
        sender.packets += 1
        if "A" in flags:
            sender.acked = packet.ack
        window_zero = packet.window == 0 and "R" not in flags and "S" not in flags
        if window_zero and not sender.window_closed:
            sender.zero_windows += 1
        sender.window_closed = window_zero
        answer = False  # a SYN-ACK that repeats the sender's own SYN: simultaneous open
        if "S" in flags:
            if sender.syn is None:
                sender.syn, sender.isn = packet, packet.seq
                if sender.next is None:
                    sender.next = packet.seq
            answer = "A" in flags and "A" not in sender.syn.flags
            sender.syns += not answer
        closing = self._closes(packet, sender, other)
        opening = self._opens(packet, sender, other)
        if packet.length or "S" in flags or "F" in flags:
            if "R" not in flags and not answer:
                sender.take(packet)
        elif sender.next is None:
            sender.next = packet.seq
        if opening and len(self.opening) < MOST_NOTABLE:
            self.opening.append(packet)
        if closing:
            if len(self.closing) < MOST_NOTABLE:
                self.closing.append(packet)
            else:
                self.closing_left_out += 1
        self.quiet = self.opened is not None and not any(s.fin or s.rst for s in self.sides)

    def _opens(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the packet is part of the opening."""
        if "S" in packet.flags:
            return True
        if self.opened is not None or not self.opening:
            if self.opened is None and not self.opening:
                self.opened = packet  # seen from the middle on
            return False
        if other.isn is None or sender.isn is None or "A" not in packet.flags:
            return "R" in packet.flags
        if distance(packet.ack, other.isn) >= 1 and "R" not in packet.flags:
            self.opened = packet
        return True

    def _closes(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the packet is part of the closing: FIN, its acknowledgement, RST, stragglers."""
        flags = packet.flags
        closing = bool(sender.fin or other.fin or sender.rst or other.rst)
        acknowledges = False
        if "R" in flags:
            sender.rst = sender.rst or packet
            return True
        if (
            other.fin is not None
            and other.fin_acked is None
            and "A" in flags
            and distance(packet.ack, other.fin.seq + other.fin.length) >= 1
        ):
            other.fin_acked = packet  # data may carry it
            acknowledges = True
        if "F" in flags:
            sender.fin = sender.fin or packet
            return True
        return closing and (not packet.length or acknowledges)


class Conversation:
    """UDP datagrams between two ends, both directions."""

    __slots__ = ("begin", "bytes", "datagrams", "end", "ends")

    def __init__(self, packet: Packet) -> None:
        self.ends = (packet.source, packet.target)
        self.begin = self.end = packet.time
        self.datagrams = [0, 0]
        self.bytes = [0, 0]

    def add(self, packet: Packet) -> None:
        way = 0 if packet.source == self.ends[0] else 1
        self.end = packet.time
        self.datagrams[way] += 1
        self.bytes[way] += packet.length


class Connections:
    """All streams and conversations of a capture; feed it with packets or, faster, with frames."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.conversations: list[Conversation] = []
        self._tcp: dict[tuple[End, End], tuple[Stream, Side, Side]] = {}
        self._udp: dict[tuple[End, End], Conversation] = {}

    def add_all(self, packets: Iterable[Packet]) -> Connections:
        """Sort packets in. Returns self."""
        for packet in packets:
            if packet.protocol == "udp":
                self._datagram(packet)
            else:
                self.add(packet)
        return self

    def add_frames(self, frames: Iterable[Frame], decoder: Decoder) -> Connections:
        """Sort frames in; plain data segments are counted without becoming packets. Returns self."""
        known: dict[bytes, tuple[Stream, Side]] = {}
        unpack, clock, decode = PLAIN.unpack_from, decoder.clock, decoder.decode
        for frame in frames:
            wall, link, data, _ = frame
            if link == 1 and len(data) >= 54 and data[12:15] == b"\x08\x00\x45" and data[23] == 6:
                total, fragment, key, seq, ack, bits, window = unpack(data, 14)
                found = known.get(key)
                if found is not None and bits & 0xF7 == ACK and window and not fragment & 0x1FFF:
                    stream, sender = found
                    length = total - 20 - (bits >> 10 & 60)
                    if (
                        stream.quiet
                        and sender.next == seq
                        and length >= 0
                        and not sender.window_closed
                    ):
                        stream.end = wall - clock
                        sender.packets += 1
                        sender.acked = ack
                        if length:
                            sender.segments += 1
                            sender.bytes += length
                            sender.next = (seq + length) & MODULO
                            sender.last_data = stream.end
                            if sender.first_data is None:
                                sender.first_data = stream.end
                        continue
                packet = decode(frame)
                if packet is not None:
                    stream, sender = self.add(packet)
                    if len(known) >= MOST_KNOWN:
                        known.clear()
                    known[key] = stream, sender
                continue
            packet = decode(frame)
            if packet is not None:
                if packet.protocol == "udp":
                    self._datagram(packet)
                else:
                    self.add(packet)
        return self

    def add(self, packet: Packet) -> tuple[Stream, Side]:
        """Sort one TCP packet in: its stream and the side that sent it."""
        found = self._tcp.get((packet.source, packet.target))
        stream, sender, other = self._find(packet, found)
        stream.add(packet, sender, other)
        return stream, sender

    def _find(
        self, packet: Packet, found: tuple[Stream, Side, Side] | None
    ) -> tuple[Stream, Side, Side]:
        """The stream of a packet; a new SYN on used ports begins another one."""
        fresh = "S" in packet.flags and "A" not in packet.flags
        if found is not None and not (fresh and not found[0].continued_by(packet)):
            return found
        stream = Stream(packet)
        self.streams.append(stream)
        sender, other = stream.side(packet)
        # A socket connected to itself has one end only: both directions look alike.
        self._tcp[other.end, sender.end] = (stream, other, sender)
        self._tcp[sender.end, other.end] = (stream, sender, other)
        return stream, sender, other

    def _datagram(self, packet: Packet) -> None:
        conversation = self._udp.get((packet.source, packet.target))
        if conversation is None:
            conversation = Conversation(packet)
            self.conversations.append(conversation)
            self._udp[packet.source, packet.target] = conversation
            self._udp[packet.target, packet.source] = conversation
        conversation.add(packet)
