"""Tracks one TCP connection of a capture, packet by packet.

Plain data segments are only counted. The packets of openings and closings are kept, up to a bound.
Unacceptable segments, which the receiver must ignore, are kept apart and do not count: a SYN or RST
with a wrong sequence number, or data far outside the receive window (RFC 9293, 3.10.7; RFC 5961).
"""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from sockfsm.events import Cause, Packet
from sockfsm.wire.headers import options
from sockfsm.wire.sequence import Seq
from sockfsm.wire.side import Side, Span

# The most packets kept of each opening and each closing. The kernel's limits on retransmissions
# (tcp_syn_retries, tcp_retries2) keep real ones below that; the bound is for floods and scans.
MOST_NOTABLE = 64
WIDEST = 1 << 30  # the largest receive window, in bytes, with the largest scale (RFC 7323, 2.3)


SYN, SYN_ACK, FIN, RST, DATA, ACK = "SYN", "SYN-ACK", "FIN", "RST", "data", "acknowledgement"
WINDOW_UPDATE, WINDOW_PROBE, KEEP_ALIVE = "window update", "window probe", "keep-alive"
UNACCEPTABLE = "unacceptable"  # its receiver must ignore it


class SegmentRole(NamedTuple):
    """The part that a segment plays in its connection.

    kind: one of the words above. span: the stream bytes that it carries, for DATA, probes and FIN.
    again: it repeats an earlier segment.
    """

    kind: str
    span: Span | None = None
    again: bool = False


class Flow:
    """One TCP connection. `sides[0]` is the client: it sent the first SYN, or the first packet."""

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
        "unacceptable",
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
        self.carried: int | None = None  # data segments sent before the first FIN
        self.opened: Packet | None = None  # the acknowledgement that completed the opening
        self.quiet = False  # established and not closing: plain segments may take the fast path
        self.again: Side | None = None  # who repeated its SYN-ACK after the opening
        self.unacceptable: list[Packet] = []
        # The open connection that used these ports before. Until somebody answers our SYN, that SYN
        # may turn out to be an unacceptable segment of it; then it absorbs this flow.
        self.before: Flow | None = None
        self.absorbed: Flow | None = None
        # `id` of a kept packet -> its cause, where calls are known.
        self.causes: dict[int, Cause] = {}

    def side(self, packet: Packet) -> tuple[Side, Side]:
        """(the sender's side, the other side)."""
        first, second = self.sides
        return (first, second) if packet.source == first.end else (second, first)

    def continued_by(self, packet: Packet) -> bool:
        """Whether a SYN without ACK belongs to this connection and does not begin another one.

        It does if it repeats our SYN, or if both ends send one (simultaneous open).
        """
        sender, other = self.side(packet)
        if sender.isn is not None:
            return packet.seq == sender.isn
        return other.syn is not None and "A" not in other.syn.flags and other.next is not None

    @property
    def open(self) -> bool:
        """Whether the opening was completed, and the connection is neither closed nor reset."""
        first, second = self.sides
        # A FIN counts even if its acknowledgement is missing: the capture may have lost that.
        closed = (first.fin and second.fin) or first.rst or second.rst
        return self.opened is not None and not closed

    def add(self, packet: Packet, sender: Side, other: Side) -> SegmentRole:
        """Add a segment that is not on the fast path; returns its role."""
        flags = packet.flags
        self.end = packet.time
        sender.packets += 1
        _number(packet, sender, other)
        if self._is_unacceptable(packet, sender, other):
            self._set_apart(packet, sender)
            return SegmentRole(UNACCEPTABLE)
        if "R" in flags:
            # Whether the receiver takes an RST with an odd number depends on its exact window, which
            # a capture does not show. What the receiver sends next does: see `_go_on` and `settle`.
            if self._doubts(packet, sender, other):
                sender.doubtful = packet
                self.quiet = False
                return SegmentRole(RST)
        elif other.doubtful is not None:
            self._go_on(other)
        if "F" in flags and self.carried is None:
            self.carried = sender.segments + other.segments
        role = self._role_of(packet, sender, other)
        self._windows(packet, sender)
        if "S" in flags:
            if sender.syn is None:
                sender.syn, sender.isn = packet, packet.seq
            # In a simultaneous open an end sends SYN and later SYN-ACK: that is no second SYN.
            sender.syns += "A" not in flags or "A" in sender.syn.flags
        closing = self._closes(packet, sender, other)
        opening = self._opens(packet, sender, other)
        if opening and len(self.opening) < MOST_NOTABLE:
            self.opening.append(packet)
        if closing:
            self._note_closing(packet)
        closes = any(s.fin or s.rst for s in self.sides)
        self.quiet = self.opened is not None and self.again is None and not closes
        return role

    def _role_of(self, packet: Packet, sender: Side, other: Side) -> SegmentRole:
        """Count the segment, and say what it is after everything that came before it."""
        flags = packet.flags
        if "S" in flags:
            if "A" not in flags:
                return SegmentRole(SYN, self._take(packet, sender, other), sender.syn is not None)
            again, sender.answered = sender.answered, True
            if sender.syn is None or "A" in sender.syn.flags:
                self._take(packet, sender, other)
            return SegmentRole(SYN_ACK, None, again)  # else it repeats the sender's own SYN as well
        if "R" in flags:
            if sender.next is None:
                sender.next = packet.seq
            return SegmentRole(RST)
        if "F" in flags:
            return SegmentRole(FIN, self._take(packet, sender, other), sender.fin is not None)
        return self._plain_role_of(packet, sender, other)

    def _plain_role_of(self, packet: Packet, sender: Side, other: Side) -> SegmentRole:
        """The same for a segment without SYN, RST and FIN."""
        flags, seq = packet.flags, packet.seq
        # Probes and keep-alives repeat the last byte, or its number, to provoke an acknowledgement
        # (RFC 9293, 3.8.4 and 3.8.6.1).
        old = sender.next is not None and Seq(seq) - sender.next == -1
        if packet.length:
            span = self._take(packet, sender, other)
            probes = old and packet.length == 1 and not other.window
            return SegmentRole(WINDOW_PROBE if probes else DATA, span, span.again)
        if sender.next is None:
            sender.next = seq
        if flags != "A":
            return SegmentRole(ACK)  # with ECE, CWR or URG
        if old:
            return SegmentRole(KEEP_ALIVE if other.window else WINDOW_PROBE)
        updates = sender.acked == packet.ack and sender.window not in (-1, packet.window)
        return SegmentRole(WINDOW_UPDATE if updates else ACK)

    def _take(self, packet: Packet, sender: Side, other: Side) -> Span:
        before = sender.retransmitted
        span = sender.take(packet)
        # Count retransmissions only while the other end is silent: a long row of them at the end of a
        # connection means that the other end is gone.
        if sender.retransmitted > before:
            count, since = sender.unanswered
            sender.unanswered = (count + 1 if since == other.packets else 1, other.packets)
        return span

    def _windows(self, packet: Packet, sender: Side) -> None:
        """Note the acknowledgement and the receive window that a segment carries."""
        flags = packet.flags
        if "A" in flags:
            sender.acked = packet.ack
        if "R" in flags or "S" in flags:
            # A SYN's window is never scaled (RFC 7323, 2.2): it cannot be compared with later ones.
            sender.window = -1
            return
        sender.zero_windows += packet.window == 0 and sender.window != 0
        sender.window = packet.window

    def _note_closing(self, packet: Packet) -> None:
        if len(self.closing) < MOST_NOTABLE:
            self.closing.append(packet)
        else:
            self.closing_left_out += 1

    def _set_apart(self, packet: Packet, sender: Side) -> None:
        """Keep an unacceptable packet away from everything that counts."""
        sender.unacceptable += 1
        if "A" in packet.flags:
            sender.unacceptable_ack = packet.ack
        if len(self.unacceptable) < MOST_NOTABLE:
            self.unacceptable.append(packet)

    def absorb(self, other: Flow) -> None:
        """Take back what a SYN on our ports seemed to begin: its segments were unacceptable here."""
        other.absorbed = self
        for theirs in other.sides:
            mine = self.sides[0] if theirs.end == self.sides[0].end else self.sides[1]
            mine.packets += theirs.packets
            mine.unacceptable += theirs.packets
        segments = sorted(other.opening + other.unacceptable, key=attrgetter("time"))
        self.unacceptable += segments[: max(MOST_NOTABLE - len(self.unacceptable), 0)]
        self.causes.update(other.causes)
        self.end = max(self.end, other.end)

    def keeps(self, packet: Packet) -> bool:
        """Whether `packet`, the latest one, is kept: in opening or closing, or as unacceptable."""
        if any(side.doubtful is packet for side in self.sides):
            return True
        return any(
            kept[-1] is packet for kept in (self.opening, self.closing, self.unacceptable) if kept
        )

    def _is_unacceptable(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the receiver must ignore the packet."""
        flags = packet.flags
        if "S" in flags:
            if sender.isn is not None and packet.seq != sender.isn:
                return True  # on an open connection a SYN is only challenged (RFC 5961, 4.2)
            if "A" not in flags or other.isn is None or other.syn is None:
                return False
            # A SYN-ACK must acknowledge our SYN and, with TCP Fast Open (RFC 7413), may acknowledge
            # its data.
            return not 1 <= Seq(packet.ack) - other.isn <= 1 + other.syn.length
        if "R" in flags:
            # It answers an unacceptable segment, with the number that that one acknowledged.
            return "A" not in flags and packet.seq == other.unacceptable_ack
        if "A" not in flags:
            return self.opened is not None  # dropped without ACK (RFC 9293, 3.10.7.4, fifth)
        return bool(packet.length or "F" in flags) and self._far(packet, sender, other)

    def _far(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether data are beyond any receive window that the receiver can have offered.

        If more data follow directly, both were real, and the capture has missed what came between.
        """
        if sender.next is None or other.acked is None or Seq(packet.seq) - sender.next <= 0:
            return False
        if Seq(packet.seq) - other.acked <= self._widest(other) or sender.far == packet.seq:
            return False
        sender.far = Seq(packet.seq) + (packet.length + ("F" in packet.flags))  # FIN counts as one
        return True

    def _widest(self, side: Side) -> int:
        """The largest receive window that a side can have offered, in bytes.

        Scaling is used only if both SYNs offer it (RFC 7323, 2.2).
        """
        syns = [s.syn for s in self.sides if s.syn is not None]
        if side.syn is None or len(syns) < 2:
            return WIDEST
        scales = [options(syn).scale for syn in syns]
        return 65535 if None in scales else 65535 << (options(side.syn).scale or 0)

    def _doubts(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether an RST has a sequence number that the receiver should ignore (RFC 5961, 3.2)."""
        if sender.next is None or self.opened is None or packet.seq == other.acked:
            return False
        lowest = sender.next if other.acked is None else other.acked
        return Seq(packet.seq) - lowest < 0 or Seq(packet.seq) - sender.next > 0

    def _go_on(self, side: Side) -> None:
        """The other end goes on: it has ignored the doubtful RST."""
        if side.doubtful is not None:
            self._set_apart(side.doubtful, side)
            side.doubtful = None

    def settle(self) -> None:
        """Call this after the last packet. A doubtful RST that nothing followed was taken, it seems."""
        for side in self.sides:
            if side.doubtful is not None:
                side.rst = side.rst or side.doubtful
                self._note_closing(side.doubtful)
                side.doubtful = None

    def _opens(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the packet is part of the opening."""
        if "S" in packet.flags:
            if self.opened is not None and "A" in packet.flags:
                # The ACK of the opening was lost. Its repetition belongs to the opening as well.
                self.again = sender
            return True
        if self.opened is not None:
            answers = self.again is other
            self.again = None if answers else self.again
            return answers and not packet.length and "F" not in packet.flags
        if not self.opening:
            self.opened = packet  # the capture began in the middle of the connection
            return False
        if other.isn is None or sender.isn is None or "A" not in packet.flags:
            return "R" in packet.flags
        if Seq(packet.ack) - other.isn >= 1 and "R" not in packet.flags:
            self.opened = packet
        return True

    def _closes(self, packet: Packet, sender: Side, other: Side) -> bool:
        """Whether the packet is part of the closing: FIN, its acknowledgement, RST, late ACKs."""
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
            other.fin_acked = packet  # this may be a data segment
            acknowledges = True
        if "F" in flags:
            sender.fin = sender.fin or packet
            return True
        return closing and (not packet.length or acknowledges)


def _number(packet: Packet, sender: Side, other: Side) -> None:
    """Set where the relative numbers of both sides begin, as far as the packet tells."""
    flags = packet.flags
    # Without a SYN the first number that we see counts as 1, as it would after a SYN.
    if sender.base is None or ("S" in flags and sender.isn is None):
        sender.base = packet.seq if "S" in flags else packet.seq - 1
    if other.base is None and "A" in flags:
        other.base = packet.ack - 1
