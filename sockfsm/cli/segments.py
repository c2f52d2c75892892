"""The segments of a simulated run and of a real one, side by side."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockfsm.events import Packet
    from sockfsm.sim.scenario import Scenario
    from sockfsm.trace.source import TraceSource

ACKNOWLEDGED = "when a pure acknowledgement is sent is a matter of time"
CUT = "how a long stream is cut, and how much of it the buffers hold, are matters of time and size"
PUSHED = "Linux pushes at the end of each burst that it hands down at once, whatever was written"
LONG = 14_600
"""Bytes: the initial window (RFC 6928). What is beyond goes as acknowledgements come."""


class Sent(NamedTuple):
    """A segment as two runs have it in common. acknowledges: nothing else."""

    flags: str
    seq: int
    ack: int | None
    length: int

    @property
    def acknowledges(self) -> bool:
        return self.flags == "A" and not self.length

    def __str__(self) -> str:
        ack = "" if self.ack is None else f" ack {self.ack}"
        return f"{self.flags} seq {self.seq}{ack} length {self.length}"


Way = tuple[str, str, str]
Streams = dict[Way, list[list[Sent]]]


def segments(
    scenario: Scenario, ours: TraceSource, theirs: TraceSource, until: int | None
) -> Iterator[tuple[str, str, str]]:
    """(place, what differs, what explains it) of the connections of both runs."""
    simulated, real = _streams(ours, None), _streams(theirs, until)
    for ends in sorted(simulated.keys() | real.keys()):
        place = f"{scenario.file}: {' -> '.join(ends)}"
        one, other = simulated.get(ends, []), real.get(ends, [])
        if len(one) != len(other):
            yield place, f"{len(one)} connections simulated, {len(other)} real", ""
        for mine, its in zip(one, other, strict=False):
            found = _compared(mine, its) if mine != its else None
            if found is not None:
                yield place, *found


def _compared(mine: list[Sent], its: list[Sent]) -> tuple[str, str]:
    """What differs between one way of a connection simulated and real, and what explains it."""
    left, right = _bare(mine), _bare(its)
    both = f"simulated {_all(mine)}; real {_all(its)}"
    if left == right:
        return both, ACKNOWLEDGED
    if _unpushed(left) == _unpushed(right):
        return both, PUSHED
    if min(_bytes(mine), _bytes(its)) > LONG and _marks(left) == _marks(right):
        return f"{_bytes(mine)} bytes simulated, {_bytes(its)} real", CUT
    for number, (a, b) in enumerate(zip(left, right, strict=False), 1):
        if a != b:
            return f"segment {number}: simulated {_say(a)}, real {_say(b)}", ""
    more = left[len(right) :] or right[len(left) :]
    who = "simulated" if len(left) > len(right) else "real"
    return f"only {who}: {', '.join(map(_say, more[:4]))}", ""


def _all(sent: list[Sent]) -> str:
    return ", ".join(map(str, sent))


def _say(sent: tuple[str, int, int]) -> str:
    return f"{sent[0]} seq {sent[1]} length {sent[2]}"


def _bare(sent: list[Sent]) -> list[tuple[str, int, int]]:
    """Those that carry something, without what they acknowledge: that depends on the moment."""
    return [(s.flags, s.seq, s.length) for s in sent if not s.acknowledges]


def _bytes(sent: list[Sent]) -> int:
    return max(s.seq + s.length for s in sent)


def _unpushed(sent: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return [(flags.replace("P", ""), seq, length) for flags, seq, length in sent]


def _marks(sent: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Those that open, close or reset, wherever they are."""
    return [(s[0].replace("P", ""), 0, 0) for s in sent if set(s[0]) & set("SFR")]


def _streams(trace: TraceSource, until: int | None) -> Streams:
    """(from, to) -> for each connection, in the order in which they began, what went that way.

    An end is named by its host, and by its port where that is no ephemeral one.
    """
    flows: dict[frozenset[tuple[str, int]], dict[Way, list[Sent]]] = {}
    for packet in trace.packets():
        if until is not None and packet.time > until:
            break
        ends = frozenset((packet.source, packet.target))
        way = (_named(packet.source), _named(packet.target), packet.protocol)
        flow = flows.setdefault(ends, {})
        flow.setdefault(way, []).append(_sent(packet))
    streams: Streams = defaultdict(list)
    for flow in flows.values():
        for way, sent in flow.items():
            streams[way].append(sent)
    return streams


def _sent(packet: Packet) -> Sent:
    if packet.protocol == "udp":
        return Sent("", 0, None, packet.length)
    return Sent(packet.flags, *packet.relative, packet.length)


def _named(end: tuple[str, int]) -> str:
    host, port = end
    return f"{host}:{port}" if port < 32_768 else host
