"""Sorts packets into TCP flows and UDP conversations.

Memory grows with the number of connections, not of packets.
"""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.events import Endpoint, Packet
from sockfsm.wire.flow import Flow, SegmentRole
from sockfsm.wire.headers import ACK, ELSEWHERE, IP_AT, IP_KINDS, PLAIN, PLAIN6, TCP, FrameDecoder
from sockfsm.wire.pcapng import Frame
from sockfsm.wire.sequence import MASK
from sockfsm.wire.side import Side

# The most directions that the fast path remembers. Forgetting one costs a slow packet; a hostile
# capture must not fill the memory.
MOST_KNOWN = 1 << 17


class Conversation:
    """The UDP datagrams between two endpoints, counted for both directions."""

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


class Flows:
    """All flows and conversations of a capture. Add packets or, which is faster, frames."""

    def __init__(self) -> None:
        self._flows: list[Flow] = []
        self.conversations: list[Conversation] = []
        self._tcp: dict[tuple[Endpoint, Endpoint], tuple[Flow, Side, Side]] = {}
        self._udp: dict[tuple[Endpoint, Endpoint], Conversation] = {}

    @property
    def flows(self) -> list[Flow]:
        """The TCP connections, in the order of their first packets."""
        return [flow for flow in self._flows if flow.absorbed is None]

    def add_all(self, packets: Iterable[Packet]) -> Flows:
        """Add packets; returns self."""
        for packet in packets:
            if packet.protocol == "udp":
                self.datagram(packet)
            else:
                self.add(packet)
        return self

    # All in one loop: a call for each frame would double the time.
    def add_frames(self, frames: Iterable[Frame], decoder: FrameDecoder) -> Flows:  # noqa: C901
        """Add frames; returns self. Plain data segments are counted without becoming packets."""
        known: dict[bytes, tuple[Flow, Side]] = {}
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
            # 0x45 is IPv4 without options. Whatever does not match here takes the slow way.
            if version == 0x45 and data[start + 9] == TCP:
                total, fragment, key, seq, ack, bits, window = unpack(data, start)
            elif version == 0x60 and size >= 60 and data[start + 6] == TCP:
                total, _, key, seq, ack, bits, window = unpack6(data, start)
                total, fragment = total + 20, 0  # IPv6 counts without its header, IPv4 with it
            if key:
                entry = known.get(key)
                if entry is not None and bits & 0xF7 == ACK and window and not fragment & 0x1FFF:
                    flow, sender = entry
                    length = total - 20 - (bits >> 10 & 60)
                    if flow.quiet and sender.next == seq and length >= 0 and sender.window:
                        # The fast path, which nearly all frames take.
                        flow.end = wall - clock
                        sender.packets += 1
                        sender.acked = ack
                        sender.window = window
                        if length:
                            sender.segments += 1
                            sender.bytes += length
                            sender.offset += length
                            sender.next = seq + length & MASK
                            sender.last_data = flow.end
                            if sender.first_data is None:
                                sender.first_data = flow.end
                        continue
                packet = decode(frame)
                if packet is not None:
                    flow, sender, _, _ = self.add(packet)
                    # Forgetting all of them is simple, and costs one slow packet for each
                    # direction.
                    if len(known) >= MOST_KNOWN:
                        known.clear()
                    known[key] = flow, sender
                continue
            packet = decode(frame)
            if packet is not None:
                if packet.protocol == "udp":
                    self.datagram(packet)
                else:
                    self.add(packet)
        return self

    def add(self, packet: Packet) -> tuple[Flow, Side, Side, SegmentRole]:
        """Add one TCP packet: (its flow, the sender's side, the other side, its role)."""
        entry = self._tcp.get((packet.source, packet.target))
        flow, sender, other = self._find(packet, entry)
        return flow, sender, other, flow.add(packet, sender, other)

    def _find(
        self, packet: Packet, entry: tuple[Flow, Side, Side] | None
    ) -> tuple[Flow, Side, Side]:
        """The flow of a packet. A new SYN on used ports begins another flow."""
        before: Flow | None = None
        if entry is not None:
            flow = entry[0]
            # The first packet after a SYN on an open connection decides which of the two goes on.
            if flow.before is not None and "S" not in packet.flags:
                before, flow.before = flow.before, None
                if _answers_before(packet, flow, before):
                    return self._undo(packet, flow, before)
            # A socket may use the ports of a connection in TIME-WAIT again (RFC 6191).
            fresh = "S" in packet.flags and "A" not in packet.flags
            if not (fresh and not flow.continued_by(packet)):
                return entry
            before = flow
        flow = Flow(packet)
        if before is not None and before.open:
            flow.before = before
        self._flows.append(flow)
        return self._know(flow, packet)

    def _undo(self, packet: Packet, flow: Flow, before: Flow) -> tuple[Flow, Side, Side]:
        """The SYN that began `flow` was unacceptable: the connection `before` goes on."""
        before.absorb(flow)
        return self._know(before, packet)

    def _know(self, flow: Flow, packet: Packet) -> tuple[Flow, Side, Side]:
        sender, other = flow.side(packet)
        # A socket connected to itself has one endpoint, so both keys are equal. The second
        # assignment wins.
        self._tcp[other.end, sender.end] = (flow, other, sender)
        self._tcp[sender.end, other.end] = (flow, sender, other)
        return flow, sender, other

    def datagram(self, packet: Packet) -> None:
        """Add one UDP packet."""
        conversation = self._udp.get((packet.source, packet.target))
        if conversation is None:
            conversation = Conversation(packet)
            self.conversations.append(conversation)
            self._udp[packet.source, packet.target] = conversation
            self._udp[packet.target, packet.source] = conversation
        conversation.add(packet)


def _answers_before(packet: Packet, flow: Flow, before: Flow) -> bool:
    """Whether the first packet after a SYN on an open connection belongs to that connection.

    The receiver of such a SYN answers with a challenge ACK, which repeats its own numbers, and goes on
    (RFC 5961, 4.2).
    """
    client = flow.sides[0]
    if client.isn is None or "A" not in packet.flags:
        return False
    begins = packet.seq if packet.source == client.end else packet.ack
    return begins != client.isn + 1 & MASK and before.side(packet)[0].next == packet.seq
