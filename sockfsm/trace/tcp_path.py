"""The TCP states of both ends of a connection, driven by its captured segments.

Each segment is an event of its sender and, when it arrives, an event of its receiver.
`sockfsm.model.rfc9293` says which state follows.

A capture does not show arrivals. On loopback a segment arrives when it is captured. On a slow or lossy
wire, later segments of the receiver reveal that it had not arrived yet: they do not acknowledge it, or
they repeat a segment that it acknowledged. A segment that its receiver must ignore, or answers with a
bare RST, changes nothing.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sockfsm import tcp_names as tcp
from sockfsm.model.flat import FlatMachine
from sockfsm.wire.findings import CLIENT, SERVER, Connection, Segment


class SegmentStep(NamedTuple):
    """A segment, and the states of both ends after it.

    strange: no rule explains it. ignored: its receiver must ignore it.
    """

    segment: Segment
    client: str
    server: str
    strange: bool
    ignored: bool = False

    @property
    def states(self) -> tuple[str, str]:
        """The states of (sender, receiver)."""
        sent_by_client = self.segment.sender == CLIENT
        return (self.client, self.server) if sent_by_client else (self.server, self.client)


@cache
def machine() -> FlatMachine:
    """The machine of RFC 9293, built once."""
    from sockfsm.model.rfc9293 import TABLE

    return FlatMachine(TABLE)


class _TcpEnd:
    """The state of one end while segments are played to it."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.path = [state]
        self.strange = False
        # In a connection that was already open, an acknowledgement of the SYN is no event.
        self.syn_acked = state == tcp.ESTABLISHED
        self.fin_at: int | None = None  # the relative number that acknowledges its FIN
        self.fin_acked = False

    def event(self, word: str) -> None:
        cell = machine().cell(self.state, word, "ok")
        if cell is None:
            self.strange = True
        elif cell.target != self.state:
            self.state = cell.target
            self.path.append(self.state)


class Walk(NamedTuple):
    """The states that each end went through, and the steps that led there."""

    client: tuple[str, ...]
    server: tuple[str, ...]
    steps: tuple[SegmentStep, ...]


def paths(connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All states that (client, server) went through."""
    return walk(connection)[:2]


def walk(connection: Connection) -> Walk:
    """Play the segments of a connection to the machines of both ends."""
    kind = connection.opening.kind
    if kind == "mid-stream":
        client, server = _TcpEnd(tcp.ESTABLISHED), _TcpEnd(tcp.ESTABLISHED)
    # In a simultaneous open no end listens (RFC 9293, 3.5, figure 7).
    elif kind == "self-connect" or _both_call(connection):
        client, server = _TcpEnd(tcp.CLOSED), _TcpEnd(tcp.CLOSED)
    else:
        # A port on which nothing listens answers from CLOSED (RFC 9293, 3.10.7.1).
        client, server = (
            _TcpEnd(tcp.CLOSED),
            _TcpEnd(tcp.CLOSED if kind == "refused" else tcp.LISTEN),
        )
    if kind == "self-connect":
        # One socket plays both parts, so one automaton does.
        server = client
    ends = {CLIENT: client, SERVER: server}
    others = {CLIENT: server, SERVER: client}
    # An RST that ends the opening is in both lists.
    listed = connection.opening.segments + connection.closing.segments
    ignored = set(connection.ignored)
    unique = dict.fromkeys(listed + connection.ignored)
    segments = sorted(unique, key=lambda segment: segment.after)
    taken = [segment for segment in segments if segment not in ignored]
    arrivals = _arrivals(taken) if client is not server else list(range(len(taken)))
    walked = []
    place = 0
    for segment in segments:
        client.strange = server.strange = False
        if segment in ignored:
            walked.append(SegmentStep(segment, client.state, server.state, True, True))
            continue
        _send(ends[segment.sender], segment)
        for number, arrival in enumerate(arrivals):
            if arrival == place:
                _receive(others[taken[number].sender], taken[number])
        strange = client.strange or server.strange
        walked.append(SegmentStep(segment, client.state, server.state, strange))
        place += 1
    return Walk(tuple(client.path), tuple(server.path), tuple(walked))


def _both_call(connection: Connection) -> bool:
    """Whether the server's end sent a SYN of its own: then it did not listen."""
    return any(
        s.sender == SERVER and "S" in s.flags and "A" not in s.flags
        for s in connection.opening.segments
    )


def _arrivals(segments: list[Segment]) -> list[int | None]:
    """For each segment the index of the one after which it arrived; None if it seems lost."""
    arrivals: list[int | None] = []
    latest = {CLIENT: 0, SERVER: 0}
    for number, segment in enumerate(segments):
        arrival = _arrival(segments, number, latest[segment.sender])
        if arrival is not None:
            latest[segment.sender] = arrival  # one direction of a wire does not reorder, we assume
        arrivals.append(arrival)
    return arrivals


def _arrival(segments: list[Segment], number: int, latest: int) -> int | None:
    segment = segments[number]
    arrival = max(number, latest)
    # Only SYN and FIN demand an answer. Of a plain ACK no later segment needs to know.
    answered = not set("SF") & set(segment.flags)
    missed = False
    for place, later in enumerate(segments[number + 1 :], number + 1):
        if later.sender == segment.sender:
            if _repeats(later, segment) and (missed or not answered):
                return None  # this copy was lost; the repeated one counts
        elif _refuses(later, segment) and not answered:
            return None
        elif _unaware(later, segment):
            arrival = max(arrival, place)
            missed = True
        else:
            answered = True
    return arrival if answered or "S" not in segment.flags else None


def _repeats(later: Segment, segment: Segment) -> bool:
    """Whether `later` is the same SYN or FIN again, or acknowledges the same again."""
    if "F" in segment.flags:
        ends = (segment.relative_seq + segment.length) == later.relative_seq + later.length
        return "F" in later.flags and ends
    if later.flags != segment.flags or later.seq != segment.seq:
        return False
    return "S" in segment.flags or later.relative_ack == segment.relative_ack


def _refuses(later: Segment, segment: Segment) -> bool:
    """Whether `later` is the RST of an end that rejects the SYN-ACK `segment` (RFC 9293, 3.10.7.3)."""
    return (
        "R" in later.flags
        and "A" not in later.flags
        and "S" in segment.flags
        and later.relative_seq == segment.relative_ack
    )


def _unaware(later: Segment, segment: Segment) -> bool:
    """Whether `later` shows that `segment`, from the other end, had not arrived at its sender."""
    if "R" in later.flags or "R" in segment.flags:
        return False
    if "S" in segment.flags or "F" in segment.flags:
        needed = segment.relative_seq + segment.length + 1
        if later.relative_ack is None or later.relative_ack < needed:
            return True
    # An end that knew of the acknowledgement would not repeat its SYN or FIN.
    if segment.relative_ack is None or not set("SF") & set(later.flags):
        return False
    return segment.relative_ack >= later.relative_seq + later.length + 1


def _send(end: _TcpEnd, segment: Segment) -> None:
    flags = segment.flags
    # RST goes first, then SYN, then FIN: the order in which a receiver looks at them (RFC 9293,
    # 3.10.7.4).
    if "R" in flags:
        if end.state != tcp.CLOSED:
            end.event("snd_rst")
    elif "S" in flags:
        if "A" not in flags:
            end.event("snd_syn")
        # In ESTABLISHED a SYN-ACK is a repetition: the last ACK of the opening had not arrived in time.
        elif end.state in (tcp.SYN_RECEIVED, tcp.ESTABLISHED):
            if end.state == tcp.SYN_RECEIVED:
                end.event("snd_syn_ack")
        else:
            end.strange = True
    elif "F" in flags:
        end.fin_at = segment.relative_seq + segment.length + 1
        end.event("snd_fin")


def _receive(end: _TcpEnd, segment: Segment) -> None:
    flags = segment.flags
    if "R" in flags:
        if end.state != tcp.CLOSED:
            end.event("rcv_rst")
        return
    if "S" in flags and "A" not in flags:
        if end.state != tcp.CLOSED:
            end.event("rcv_syn")
        return
    if end.state == tcp.CLOSED:
        return
    # A segment with ACK and FIN is two events, the acknowledgement first (RFC 9293, 3.10.7.4).
    if "A" in flags and segment.relative_ack is not None:
        if not end.syn_acked and segment.relative_ack >= 1:
            end.syn_acked = True
            end.event("rcv_ack_syn")
        if end.fin_at is not None and not end.fin_acked and segment.relative_ack >= end.fin_at:
            end.fin_acked = True
            end.event("rcv_ack_fin")
    if "F" in flags:
        end.event("rcv_fin")
