"""Packets to connections: TCP streams and UDP conversations.

Memory grows with the connections and not with the packets.
"""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.trace.events import Packet
from sockfsm.wire.headers import ACK, ELSEWHERE, IP_AT, IP_KINDS, PLAIN, PLAIN6, TCP, Decoder
from sockfsm.wire.pcapng import Frame
from sockfsm.wire.side import MODULO, End, Side
from sockfsm.wire.stream import Stream

MOST_KNOWN = 1 << 17


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
        self._streams: list[Stream] = []
        self.conversations: list[Conversation] = []
        self._tcp: dict[tuple[End, End], tuple[Stream, Side, Side]] = {}
        self._udp: dict[tuple[End, End], Conversation] = {}

    @property
    def streams(self) -> list[Stream]:
        """The TCP connections, in the order of their first packets."""
        return [stream for stream in self._streams if not stream.void]

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
        unpack, unpack6 = PLAIN.unpack_from, PLAIN6.unpack_from
        clock, decode, places = decoder.clock, decoder.decode, IP_AT.get
        for frame in frames:
            wall, link, data, _ = frame
            start, kind = places(link, ELSEWHERE)
            size = len(data) - start
            version = 0
            if size >= 40 and (kind is None or data[kind : kind + 2] in IP_KINDS):
                version = data[start]
            key = b""
            if version == 0x45 and data[start + 9] == TCP:
                total, fragment, key, seq, ack, bits, window = unpack(data, start)
            elif version == 0x60 and size >= 60 and data[start + 6] == TCP:
                total, _, key, seq, ack, bits, window = unpack6(data, start)
                total, fragment = total + 20, 0  # it counts without the header
            if key:
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
        before: Stream | None = None
        if found is not None:
            stream = found[0]
            if stream.before is not None and "S" not in packet.flags:
                before, stream.before = stream.before, None
                if _answers_before(packet, stream, before):
                    return self._undo(packet, stream, before)
            fresh = "S" in packet.flags and "A" not in packet.flags
            if not (fresh and not stream.continued_by(packet)):
                return found
            before = stream
        stream = Stream(packet)
        if before is not None and before.open:
            stream.before = before
        self._streams.append(stream)
        return self._know(stream, packet)

    def _undo(self, packet: Packet, stream: Stream, before: Stream) -> tuple[Stream, Side, Side]:
        """The SYN that began `stream` was a stray: the connection before it goes on."""
        stream.void = True
        before.absorb(stream)
        return self._know(before, packet)

    def _know(self, stream: Stream, packet: Packet) -> tuple[Stream, Side, Side]:
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


def _answers_before(packet: Packet, stream: Stream, before: Stream) -> bool:
    """Whether the first packet after a SYN on an open connection still belongs to that one.

    The end that gets the SYN acknowledges what it had, and goes on (RFC 5961, 4).
    """
    client = stream.sides[0]
    if client.isn is None or "A" not in packet.flags:
        return False
    begins = packet.seq if packet.source == client.end else packet.ack
    return begins != (client.isn + 1) & MODULO and before.side(packet)[0].next == packet.seq
