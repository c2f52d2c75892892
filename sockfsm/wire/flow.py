"""One TCP connection as a capture shows it, counted as its packets go by.

Nothing of a plain data segment is kept but counts; the packets of openings and closings are, in
bounded number. What the receiver must ignore (RFC 9293, 3.10.7, and RFC 5961: a SYN or RST of a
wrong number, data far outside the window) is set apart.
"""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from sockfsm.trace.events import Cause, Packet
from sockfsm.wire.headers import options
from sockfsm.wire.sequence import Seq
from sockfsm.wire.side import Side, Span

MOST_NOTABLE = 64  # packets kept of an opening and of a closing
WIDEST = 1 << 30  # bytes in a window, with the largest scale (RFC 7323)


SYN, SYN_ACK, FIN, RST, DATA, ACK = "SYN", "SYN-ACK", "FIN", "RST", "data", "acknowledgement"
WINDOW_UPDATE, WINDOW_PROBE, KEEP_ALIVE = "window update", "window probe", "keep-alive"
STRAY = "stray"  # its receiver must ignore it


class Meaning(NamedTuple):
    """What a segment is in its connection.

    kind: one of the words above. span: the bytes that it carries, of DATA and FIN. again: it was sent
    before.
    """

    kind: str
    span: Span | None = None
    again: bool = False


class Flow:
    """One TCP connection as the capture shows it. `sides[0]` sent the first SYN or packet."""

    __slots__ = (
        "absorbed",
        "again",
        "before",
        "begin",
        "carried",
        "causes",
        "closing",
        "closing_left_out",
        "end",
        "opened",
        "opening",
        "quiet",
        "sides",
        "strays",
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
        self.before: Flow | None = None  # what its SYN came upon, until somebody answers it
        self.absorbed: Flow | None = None  # the connection before, when the SYN was a stray of that
        self.causes: dict[
            int, Cause
        ] = {}  # of the packets kept, by their `id`, where calls are known

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

    def add(self, packet: Packet, sender: Side, other: Side) -> Meaning:
        """Any segment that is not plain data on an open connection."""
        flags = packet.flags
        self.end = packet.time
        sender.packets += 1
        if sender.base is None or (flags and "S" in flags and sender.isn is None):
            sender.base = packet.seq if "S" in flags else packet.seq - 1
        if other.base is None and "A" in flags:
            other.base = packet.ack - 1
        if self._strays(packet, sender, other):
            self._set_apart(packet, sender)
            return Meaning(STRAY)
        if "R" in flags:
            if self._doubts(packet, sender, other):
                sender.doubtful = packet
                self.quiet = False
                return Meaning(RST)
        elif other.doubtful is not None:
            self._go_on(other)
        if "F" in flags and self.carried is None:
            self.carried = sender.segments + other.segments
        meaning = self._meaning(packet, sender, other)
        self._windows(packet, sender)
        if "S" in flags:
            if sender.syn is None:
                sender.syn, sender.isn = packet, packet.seq
            sender.syns += "A" not in flags or "A" in sender.syn.flags
        closing = self._closes(packet, sender, other)
        opening = self._opens(packet, sender, other)
        if opening and len(self.opening) < MOST_NOTABLE:
            self.opening.append(packet)
        if closing:
            self._note_closing(packet)
        closes = any(s.fin or s.rst for s in self.sides)
        self.quiet = self.opened is not None and self.again is None and not closes
        return meaning

    def _meaning(self, packet: Packet, sender: Side, other: Side) -> Meaning:
        """What the segment is, by all that went before; counts it."""
        flags, seq = packet.flags, packet.seq
        if "S" in flags:
            if "A" not in flags:
                return Meaning(SYN, self._take(packet, sender, other), sender.syn is not None)
            again, sender.answered = sender.answered, True
            if sender.syn is None or "A" in sender.syn.flags:
                self._take(packet, sender, other)
            return Meaning(SYN_ACK, None, again)  # else it repeats the sender's own SYN as well
        if "R" in flags:
            if sender.next is None:
                sender.next = seq
            return Meaning(RST)
        if "F" in flags:
            return Meaning(FIN, self._take(packet, sender, other), sender.fin is not None)
        old = sender.next is not None and Seq(seq) - sender.next == -1
        if packet.length:
            span = self._take(packet, sender, other)
            probes = old and packet.length == 1 and not other.window
            return Meaning(WINDOW_PROBE if probes else DATA, span, span.again)
        if sender.next is None:
            sender.next = seq
        if flags != "A":
            return Meaning(ACK)  # with ECE, CWR or URG
        if old:
            return Meaning(KEEP_ALIVE if other.window else WINDOW_PROBE)
        updates = sender.acked == packet.ack and sender.window not in (-1, packet.window)
        return Meaning(WINDOW_UPDATE if updates else ACK)

    def _take(self, packet: Packet, sender: Side, other: Side) -> Span:
        before = sender.retransmitted
        span = sender.take(packet)
        if sender.retransmitted > before:
            count, since = sender.unanswered
            sender.unanswered = (count + 1 if since == other.packets else 1, other.packets)
        return span

    def _windows(self, packet: Packet, sender: Side) -> None:
        """Take note of what a segment acknowledges and offers."""
        flags = packet.flags
        if "A" in flags:
            sender.acked = packet.ack
        if "R" in flags or "S" in flags:
            sender.window = -1  # a SYN's window counts otherwise than all later ones: not scaled
            return
        sender.zero_windows += packet.window == 0 and sender.window != 0
        sender.window = packet.window

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

    def absorb(self, other: Flow) -> None:
        """What seemed to begin another connection on our ports were strays of this one."""
        other.absorbed = self
        for theirs in other.sides:
            mine = self.sides[0] if theirs.end == self.sides[0].end else self.sides[1]
            mine.packets += theirs.packets
            mine.strays += theirs.packets
        strays = sorted(other.opening + other.strays, key=attrgetter("time"))
        self.strays += strays[: max(MOST_NOTABLE - len(self.strays), 0)]
        self.causes.update(other.causes)
        self.end = max(self.end, other.end)

    def keeps(self, packet: Packet) -> bool:
        """Whether `packet`, the latest one, is part of the opening or closing, or to be ignored."""
        if any(side.doubtful is packet for side in self.sides):
            return True
        return any(kept[-1] is packet for kept in (self.opening, self.closing, self.strays) if kept)

    def _strays(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the receiver must ignore the packet."""
        flags = packet.flags
        if "S" in flags:
            if sender.isn is not None and packet.seq != sender.isn:
                return True
            if "A" not in flags or other.isn is None or other.syn is None:
                return False
            return not 1 <= Seq(packet.ack) - other.isn <= 1 + other.syn.length
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
        if sender.next is None or other.acked is None or Seq(packet.seq) - sender.next <= 0:
            return False
        if Seq(packet.seq) - other.acked <= self._widest(other) or sender.far == packet.seq:
            return False
        sender.far = Seq(packet.seq) + (packet.length + ("F" in packet.flags))
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
        return Seq(packet.seq) - lowest < 0 or Seq(packet.seq) - sender.next > 0

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
        if Seq(packet.ack) - other.isn >= 1 and "R" not in packet.flags:
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
            and Seq(packet.ack) - (other.fin.seq + other.fin.length) >= 1
        ):
            other.fin_acked = packet  # data may carry it
            acknowledges = True
        if "F" in flags:
            sender.fin = sender.fin or packet
            return True
        return closing and (not packet.length or acknowledges)
