"""The TCP states of both ends of a connection, driven by its captured segments.

Every segment is an event of its sender and one of its receiver; `sockfsm.model.rfc9293` says where
they lead. On loopback both happen at once; elsewhere the receiver's comes a little later.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sockfsm.model.flat import FlatMachine
from sockfsm.wire.handshake import CLIENT, SERVER, Connection, Segment


class Step(NamedTuple):
    """A segment, and the states that both ends are in after it; `strange`: no rule explains it."""

    segment: Segment
    client: str
    server: str
    strange: bool


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


def steps(connection: Connection) -> list[Step]:
    """Each segment of opening and closing with the states of both ends after it."""
    return _walk(connection)[2]


def paths(connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All states that (client, server) went through, the first included."""
    client, server, _ = _walk(connection)
    return tuple(client.path), tuple(server.path)


def _walk(connection: Connection) -> tuple[_End, _End, list[Step]]:
    kind = connection.opening.kind
    if kind == "mid-stream":
        client, server = _End("ESTABLISHED"), _End("ESTABLISHED")
    elif kind in ("simultaneous", "self-connect"):
        client, server = _End("CLOSED"), _End("CLOSED")
    else:
        # A port that nothing listens on answers from CLOSED.
        client, server = _End("CLOSED"), _End("CLOSED" if kind == "refused" else "LISTEN")
    if kind == "self-connect":
        server = client
    ends = {CLIENT: client, SERVER: server}
    found = []
    # An RST that ends the opening stands in both lists.
    segments = dict.fromkeys(connection.opening.segments + connection.closing.segments)
    for segment in sorted(segments, key=lambda segment: segment.after):
        sender = ends[segment.sender]
        receiver = ends[SERVER if segment.sender == CLIENT else CLIENT]
        sender.strange = receiver.strange = False
        _send(sender, segment)
        _receive(receiver, segment)
        strange = sender.strange or receiver.strange
        found.append(Step(segment, client.state, server.state, strange))
    return client, server, found


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
