"""The TCP states of both ends of a connection, driven by its captured segments.

Every segment is an event of its sender and, once it arrives, one of its receiver;
`sockfsm.model.rfc9293` says where they lead. A capture does not show arrivals. On loopback a segment
arrives as it is captured; from a delayed or lossy wire, what the receiver sends later betrays that
something had not arrived yet: it does not acknowledge it, or repeats what it acknowledged. What the
receiver answers with a bare RST, or must ignore, changes nothing.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sockfsm.model.flat import FlatMachine
from sockfsm.wire.findings import CLIENT, SERVER, Connection, Segment


class Step(NamedTuple):
    """A segment, and the states that both ends are in after it.

    strange: no rule explains it; ignored: its receiver must ignore it.
    """

    segment: Segment
    client: str
    server: str
    strange: bool
    ignored: bool = False

    @property
    def states(self) -> tuple[str, str]:
        """The same states as (the sender's, the receiver's)."""
        sent_by_client = self.segment.sender == CLIENT
        return (self.client, self.server) if sent_by_client else (self.server, self.client)


@cache
def machine() -> FlatMachine:
    """The machine of RFC 9293, built once."""
    from sockfsm.model.rfc9293 import TABLE

    return FlatMachine(TABLE)


class _End:
    """One end while its segments go by."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.path = [state]
        self.strange = False
        self.syn_acked = state == "ESTABLISHED"
        self.fin_at: int | None = None  # what acknowledges our FIN, relative
        self.fin_acked = False

    def event(self, word: str) -> None:
        cell = machine().cell(self.state, word, "ok")
        if cell is None:
            self.strange = True
        elif cell.target != self.state:
            self.state = cell.target
            self.path.append(self.state)


class Walk(NamedTuple):
    """All that the segments of a connection did: the states of each end, the first included."""

    client: tuple[str, ...]
    server: tuple[str, ...]
    steps: tuple[Step, ...]


def steps(connection: Connection) -> tuple[Step, ...]:
    """Each segment of opening and closing with the states of both ends after it."""
    return walk(connection).steps


def paths(connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All states that (client, server) went through."""
    return walk(connection)[:2]


def walk(connection: Connection) -> Walk:
    """Let the segments of a connection drive the machines of both ends."""
    kind = connection.opening.kind
    if kind == "mid-stream":
        client, server = _End("ESTABLISHED"), _End("ESTABLISHED")
    elif kind == "self-connect" or _both_call(connection):
        client, server = _End("CLOSED"), _End("CLOSED")
    else:
        # A port that nothing listens on answers from CLOSED.
        client, server = _End("CLOSED"), _End("CLOSED" if kind == "refused" else "LISTEN")
    if kind == "self-connect":
        server = client
    ends = {CLIENT: client, SERVER: server}
    others = {CLIENT: server, SERVER: client}
    # An RST that ends the opening stands in both lists.
    listed = connection.opening.segments + connection.closing.segments
    ignored = set(connection.ignored)
    unique = dict.fromkeys(listed + connection.ignored)
    segments = sorted(unique, key=lambda segment: segment.after)
    taken = [segment for segment in segments if segment not in ignored]
    arrivals = _arrivals(taken) if client is not server else list(range(len(taken)))
    found = []
    place = 0
    for segment in segments:
        client.strange = server.strange = False
        if segment in ignored:
            found.append(Step(segment, client.state, server.state, True, True))
            continue
        _send(ends[segment.sender], segment)
        for number, arrival in enumerate(arrivals):
            if arrival == place:
                _receive(others[taken[number].sender], taken[number])
        strange = client.strange or server.strange
        found.append(Step(segment, client.state, server.state, strange))
        place += 1
    return Walk(tuple(client.path), tuple(server.path), tuple(found))


def _both_call(connection: Connection) -> bool:
    """Whether the server's end sent a SYN of its own: it did not listen."""
    return any(
        s.sender == SERVER and "S" in s.flags and "A" not in s.flags
        for s in connection.opening.segments
    )


def _arrivals(segments: list[Segment]) -> list[int | None]:
    """For each segment, after which one it arrived; None: it did not, as far as can be told."""
    arrivals: list[int | None] = []
    latest = {CLIENT: 0, SERVER: 0}
    for number, segment in enumerate(segments):
        arrival = _arrival(segments, number, latest[segment.sender])
        if arrival is not None:
            latest[segment.sender] = arrival
        arrivals.append(arrival)
    return arrivals


def _arrival(segments: list[Segment], number: int, latest: int) -> int | None:
    segment = segments[number]
    arrival = max(number, latest)
    answered = not set("SF") & set(segment.flags)
    missed = False
    for place, later in enumerate(segments[number + 1 :], number + 1):
        if later.sender == segment.sender:
            if _repeats(later, segment) and (missed or not answered):
                return None  # the first copy went nowhere; the last one counts
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
    """Whether `later` is the RST of an end that does not take the SYN-ACK `segment`."""
    return (
        "R" in later.flags
        and "A" not in later.flags
        and "S" in segment.flags
        and later.relative_seq == segment.relative_ack
    )


def _unaware(later: Segment, segment: Segment) -> bool:
    """Whether the sender of `later` shows that `segment` of the other end had not arrived."""
    if "R" in later.flags or "R" in segment.flags:
        return False
    if "S" in segment.flags or "F" in segment.flags:
        needed = segment.relative_seq + segment.length + 1
        if later.relative_ack is None or later.relative_ack < needed:
            return True
    # It repeats a SYN or FIN that `segment` acknowledges.
    if segment.relative_ack is None or not set("SF") & set(later.flags):
        return False
    return segment.relative_ack >= later.relative_seq + later.length + 1


def _send(end: _End, segment: Segment) -> None:
    flags = segment.flags
    if "R" in flags:
        if end.state != "CLOSED":
            end.event("snd_rst")
    elif "S" in flags:
        if "A" not in flags:
            end.event("snd_syn")
        elif end.state in ("SYN-RECEIVED", "ESTABLISHED"):
            if end.state == "SYN-RECEIVED":
                end.event("snd_syn_ack")
        else:
            end.strange = True
    elif "F" in flags:
        end.fin_at = segment.relative_seq + segment.length + 1
        end.event("snd_fin")


def _receive(end: _End, segment: Segment) -> None:
    flags = segment.flags
    if "R" in flags:
        if end.state != "CLOSED":
            end.event("rcv_rst")
        return
    if "S" in flags and "A" not in flags:
        if end.state != "CLOSED":
            end.event("rcv_syn")
        return
    if end.state == "CLOSED":
        return
    if "A" in flags and segment.relative_ack is not None:
        if not end.syn_acked and segment.relative_ack >= 1:
            end.syn_acked = True
            end.event("rcv_ack_syn")
        if end.fin_at is not None and not end.fin_acked and segment.relative_ack >= end.fin_at:
            end.fin_acked = True
            end.event("rcv_ack_fin")
    if "F" in flags:
        end.event("rcv_fin")
