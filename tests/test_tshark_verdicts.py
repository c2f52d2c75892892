"""The recorded connections as tshark sees them: equal, or the difference explained."""

from __future__ import annotations

import subprocess

import pytest
from handshake_verdicts import TRACES, VERDICTS, connections

from sockfsm.trace.trace import PACKETS
from sockfsm.wire.findings import Connection

FIELDS = (
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "tcp.analysis.retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.initial_rtt",
    "tcp.completeness",
)


class Theirs:
    """What tshark says of one conversation."""

    def __init__(self) -> None:
        self.packets: dict[tuple[str, int], int] = {}
        self.again: dict[tuple[str, int], int] = {}
        self.round_trip: int | None = None
        self.complete = 0


def tshark(name: str) -> list[Theirs]:
    """Its conversations, in the order of their first packets."""
    command = ["tshark", "-2", "-n", "-r", str(TRACES / name / PACKETS), "-Y", "tcp"]
    command += ["-T", "fields", *(word for field in FIELDS for word in ("-e", field))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    streams: dict[int, Theirs] = {}
    for line in done.stdout.splitlines():
        stream, four, six, port, *analysis, round_trip, complete = line.split("\t")
        found = streams.setdefault(int(stream), Theirs())
        end = four or six, int(port)
        found.packets[end] = found.packets.get(end, 0) + 1
        found.again[end] = found.again.get(end, 0) + any(analysis)
        if round_trip:
            found.round_trip = round(float(round_trip) * 1e9)
        found.complete |= int(complete)
    return [streams[number] for number in sorted(streams)]


def completeness(found: Connection) -> int:
    """Wireshark's tcp.completeness: SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32.

    It counts the ACK of a segment that refuses a SYN, too.
    """
    listed = found.opening.segments + found.closing.segments + found.ignored
    bits = 0
    for segment in listed:
        flags = segment.flags
        if "S" in flags:
            bits |= 2 if "A" in flags else 1
        bits |= 16 * ("F" in flags) | 32 * ("R" in flags)
    opened = found.opening.round_trip is not None and found.opening.segments[-1].flags == "A"
    bits |= 4 * (opened or found.opening.kind == "refused")
    return bits | 8 * bool(found.sent.segments + found.received.segments)


def suspected(found: Connection) -> dict[tuple[str, int], int]:
    """What tshark takes for a retransmission besides: SYN-ACKs that are none, or count for nothing.

    In a simultaneous opening a SYN-ACK repeats the number of the end's own SYN: RFC 9293 (figure 8)
    asks for that segment. And of SYN-ACKs that the other end must ignore, each after the first.
    """
    more = {found.client: 0, found.server: 0}
    ends = {"client": found.client, "server": found.server}
    called = {s.sender for s in found.opening.segments if s.flags == "S"}
    for segment in found.opening.segments:
        if segment.flags == "SA" and segment.sender in called:
            more[ends[segment.sender]] += 1
    wrong = [s for s in found.ignored if s.flags == "SA"]
    more[found.server] += max(len(wrong) - 1, 0)
    return more


def joined_at_a_stray_syn(theirs: list[Theirs]) -> list[Theirs]:
    """tshark begins a new conversation with a SYN that the kernel ignored on an open connection.

    The kernel's own states say that there was one connection; both halves together are ours. What
    tshark suspects in the second half (everything is behind its first number) counts for nothing.
    """
    *before, first, second, vanished, scan = theirs
    for end, number in second.packets.items():
        first.packets[end] += number
    first.complete |= second.complete
    return [*before, first, vanished, scan]


@pytest.mark.parametrize("name", VERDICTS)
def test_as_tshark_sees_it(name: str) -> None:
    """Connections, packets each way, retransmissions, initial round trip, completeness."""
    ours, theirs = connections(TRACES / name), tshark(name)
    if name == "hand-made-peer":
        theirs = joined_at_a_stray_syn(theirs)
    assert len(theirs) == len(ours)
    for found, told in zip(ours, theirs, strict=True):
        if found.client == found.server:
            assert told.packets[found.client] == found.sent.packets
            continue
        flows = {found.client: found.sent, found.server: found.received}
        assert {end: told.packets.get(end, 0) for end in flows} == {
            end: flow.packets for end, flow in flows.items()
        }
        again = {end: flow.retransmitted + flow.late for end, flow in flows.items()}
        for end, number in suspected(found).items():
            again[end] += number
        assert {end: told.again.get(end, 0) for end in flows} == again
        assert told.complete == completeness(found)
        if found.opening.kind in ("normal", "not accepted"):
            assert told.round_trip == found.opening.round_trip
