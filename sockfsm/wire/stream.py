"""One TCP connection as a capture shows it, counted as its packets go by.

Nothing of a plain data segment is kept but counts; the packets of openings and closings are, in
bounded number. What the receiver must ignore (RFC 9293, 3.10.7, and RFC 5961: a SYN or RST of a
wrong number, data far outside the window) is set apart.
"""

from __future__ import annotations

from operator import attrgetter

from sockfsm.trace.events import Packet
from sockfsm.wire.headers import options
from sockfsm.wire.side import MODULO, Side, distance

MOST_NOTABLE = 64  # packets kept of an opening and of a closing
WIDEST = 1 << 30  # bytes in a window, with the largest scale (RFC 7323)


class Stream:
    """One TCP connection as the capture shows it. `sides[0]` sent the first SYN or packet."""

    __slots__ = (
        "again",
        "before",
        "begin",
        "carried",
        "closing",
        "closing_left_out",
        "end",
        "opened",
        "opening",
        "quiet",
        "sides",
        "strays",
        "void",
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
        self.carried: int | None = None  # data segments that had been sent when the first FIN was
        self.opened: Packet | None = None  # the acknowledgement that ended the opening
        self.quiet = False  # established and nobody closes: plain segments need no look
        self.again: Side | None = None  # who repeated its SYN-ACK after the opening
        self.strays: list[Packet] = []
        self.before: Stream | None = None  # what its SYN came upon, until somebody answers it
        self.void = False  # the SYN was a stray of the connection before

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

    @property
    def open(self) -> bool:
        """Whether it was opened, and not closed by both ends or reset."""
        first, second = self.sides
        closed = (first.fin and second.fin) or first.rst or second.rst
        return self.opened is not None and not closed

    def add(self, packet: Packet, sender: Side, other: Side) -> None:
        """Any segment that is not plain data on an open connection."""
        flags = packet.flags
        self.end = packet.time
        sender.packets += 1
        if self._strays(packet, sender, other):
            self._set_apart(packet, sender)
            return
        if "R" in flags:
            if self._doubts(packet, sender, other):
                sender.doubtful = packet
                self.quiet = False
                return
        elif other.doubtful is not None:
            self._go_on(other)
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
                self._take(packet, sender, other)
        elif sender.next is None:
            sender.next = packet.seq
        if opening and len(self.opening) < MOST_NOTABLE:
            self.opening.append(packet)
        if closing:
            self._note_closing(packet)
        closes = any(s.fin or s.rst for s in self.sides)
        self.quiet = self.opened is not None and self.again is None and not closes

    def _take(self, packet: Packet, sender: Side, other: Side) -> None:
        before = sender.retransmitted
        sender.take(packet)
        if sender.retransmitted > before:
            count, since = sender.unanswered
            sender.unanswered = (count + 1 if since == other.packets else 1, other.packets)

    def _note_closing(self, packet: Packet) -> None:
        if len(self.closing) < MOST_NOTABLE:
            self.closing.append(packet)
        else:
            self.closing_left_out += 1

    def _set_apart(self, packet: Packet, sender: Side) -> None:
        """Keep a packet that its receiver must not take away from what counts."""
        sender.strays += 1
        if "A" in packet.flags:
            sender.stray_ack = packet.ack
        if len(self.strays) < MOST_NOTABLE:
            self.strays.append(packet)

    def absorb(self, other: Stream) -> None:
        """What seemed to begin another connection on our ports were strays of this one."""
        for theirs in other.sides:
            mine = self.sides[0] if theirs.end == self.sides[0].end else self.sides[1]
            mine.packets += theirs.packets
            mine.strays += theirs.packets
        strays = sorted(other.opening + other.strays, key=attrgetter("time"))
        self.strays += strays[: max(MOST_NOTABLE - len(self.strays), 0)]
        self.end = max(self.end, other.end)

    def _strays(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the receiver must ignore the packet."""
        flags = packet.flags
        if "S" in flags:
            if sender.isn is not None and packet.seq != sender.isn:
                return True
            if "A" not in flags or other.isn is None or other.syn is None:
                return False
            return not 1 <= distance(packet.ack, other.isn) <= 1 + other.syn.length
        if "R" in flags:
            # It answers a stray, with the number that this one acknowledged.
            return "A" not in flags and packet.seq == other.stray_ack
        if "A" not in flags:
            return self.opened is not None
        return bool(packet.length or "F" in flags) and self._far(packet, sender, other)

    def _far(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether data lie outside any window that the receiver can have offered.

        Data that follow upon such data are taken: then the capture lacks what was between.
        """
        if sender.next is None or other.acked is None or distance(packet.seq, sender.next) <= 0:
            return False
        if distance(packet.seq, other.acked) <= self._widest(other) or sender.far == packet.seq:
            return False
        sender.far = (packet.seq + packet.length + ("F" in packet.flags)) & MODULO
        return True

    def _widest(self, side: Side) -> int:
        """The largest window that a side can offer."""
        syns = [s.syn for s in self.sides if s.syn is not None]
        if side.syn is None or len(syns) < 2:
            return WIDEST
        scales = [options(syn).scale for syn in syns]
        return 65535 if None in scales else 65535 << (options(side.syn).scale or 0)

    def _doubts(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether an RST has a number that the receiver does not expect: it should ignore that."""
        if sender.next is None or self.opened is None or packet.seq == other.acked:
            return False
        lowest = sender.next if other.acked is None else other.acked
        return distance(packet.seq, lowest) < 0 or distance(packet.seq, sender.next) > 0

    def _go_on(self, side: Side) -> None:
        """The other end goes on: it did not take the doubtful RST."""
        if side.doubtful is not None:
            self._set_apart(side.doubtful, side)
            side.doubtful = None

    def settle(self) -> None:
        """No packet follows: a doubtful RST upon which nothing came was taken, it seems."""
        for side in self.sides:
            if side.doubtful is not None:
                side.rst = side.rst or side.doubtful
                self._note_closing(side.doubtful)
                side.doubtful = None

    def _opens(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the packet is part of the opening."""
        if "S" in packet.flags:
            if self.opened is not None and "A" in packet.flags:
                self.again = sender
            return True
        if self.opened is not None:
            answers = self.again is other
            self.again = None if answers else self.again
            return answers and not packet.length and "F" not in packet.flags
        if not self.opening:
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
            if self.carried is None:
                self.carried = sender.segments + other.segments
            sender.fin = sender.fin or packet
            return True
        return closing and (not packet.length or acknowledges)
