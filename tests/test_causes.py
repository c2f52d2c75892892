"""What each packet comes from, and which wait it ends: real sockets of every sort, in one trace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE
from test_kernel_states import lacking

from sockfsm.events import Call, Packet
from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.wire.handshake import inspect_file
from sockfsm.wire.kernel_record import read
from sockfsm.wire.kernel_states import FILE

PROGRAM = Path(__file__).with_name("join_program.py")
RECORDED = Path(__file__).parent.parent / "traces"

Lines = list[str]


class Seen:
    """One recorded trace: its packets as `FLAGS who why: calls > the wait that ended`."""

    def __init__(self, folder: Path, ports: dict[str, list[int]]) -> None:
        trace = Trace.open(folder)
        self.folder, self.ports = folder, ports
        self.packets = [(packet, packet.ended) for packet in trace.packets()]
        self.problems = trace.problems

    def of(self, name: str) -> list[Packet]:
        """The packets between the two ports that the program named so."""
        wanted = set(self.ports[name])
        return [p for p, _ in self.packets if {p.source[1], p.target[1]} == wanted]

    def client(self, name: str) -> Lines:
        """What the client sent but mere acknowledgements."""
        source = self.ports[name][0]
        return [told(p) for p in self.of(name) if p.source[1] == source and told(p) != IDLE]

    def server(self, name: str) -> Lines:
        """What the server sent, the same."""
        source = self.ports[name][1]
        return [told(p) for p in self.of(name) if p.source[1] == source and told(p) != IDLE]

    def ended(self, name: str) -> list[tuple[str, str]]:
        """Which packet ended which wait: (flags, method)."""
        packets = {id(p) for p in self.of(name)}
        return [(p.flags, call.method) for p, call in self.packets if call and id(p) in packets]


AGAIN = "kernel retransmission"  # also on loopback: a receiver without room, a slow machine
IDLE = "A kernel acknowledgement"
SYN, SYN_ACK, CLOSE = "S call: connect", "SA kernel SYN-ACK", "FA call: close"


def told(packet: Packet) -> str:
    cause = packet.cause
    assert cause is not None
    text = f"{packet.flags} {cause.who} {cause.why}".strip()
    return f"{text}: {' '.join(call.method for call in cause.calls)}" if cause.calls else text


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    for _ in range(5):
        folder = tmp_path_factory.mktemp("causes") / "trace"
        command = [sys.executable, "-m", "sockfsm", "run", "--kernel-states", "-o", str(folder)]
        command.append(str(PROGRAM))
        done = subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True, text=True)
        found = Seen(folder, json.loads(done.stdout))
        # The kernel's buffer has the states of the whole machine: what others do can fill it.
        if not any("changes of state were lost" in line for line in found.problems):
            break
    assert found.problems == []
    return found


def test_every_packet_has_a_cause(seen: Seen) -> None:
    for packet, _ in seen.packets:
        assert packet.cause is not None
        assert packet.cause.who in ("call", "kernel", "unknown")
        assert (packet.cause.who == "call") <= bool(packet.cause.calls)
        assert packet.cause.why or packet.cause.who == "call"
        for call in packet.cause.calls:
            assert call.begin <= packet.time + 20_000
            assert call.socket is packet.socket


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("corked", ["PA call: sendall sendall sendall"]),
        ("more", ["PA call: send send"]),
        ("file", ["PA call: sendfile"]),
    ],
)
def test_sends_and_segments(seen: Seen, name: str, sent: Lines) -> None:
    # It is queued when it takes long until the cork is taken away: setsockopt is no traced call.
    assert [line.replace(" queued", "") for line in seen.client(name)] == [SYN, *sent, CLOSE]
    assert seen.server(name) == [SYN_ACK, CLOSE]


def test_fin_with_the_last_bytes(seen: Seen) -> None:
    last = "FPA call: sendall shutdown(SHUT_WR)"
    assert seen.client("corked_to_the_end") == [SYN, last]


def test_one_send_in_many_segments(seen: Seen) -> None:
    sent = [p for p in seen.of("cut") if p.length and AGAIN not in told(p)]
    assert sum(p.length for p in sent) == 400_000
    assert len(sent) > 5
    assert max(p.length for p in sent) > 10_000  # far above the 1000 bytes of a segment
    assert len({p.cause for p in sent if p.cause and p.cause.calls}) <= 2  # at once, and queued
    assert {p.call.method for p in sent if p.call} == {"sendall"}
    assert len({p.call for p in sent}) == 1


def test_a_send_that_went_out_partly(seen: Seen) -> None:
    """Each byte belongs to the send that took it, by the sends' own counts."""
    sent = [p for p in seen.of("partly") if p.length and AGAIN not in told(p)]
    assert sum(p.length for p in sent) >= 8_000_000
    calls: dict[Call, None] = {}
    for packet in sent:
        assert packet.cause is not None
        assert packet.cause.who == "call", told(packet)
        calls.update(dict.fromkeys(c for c in packet.cause.calls if c.call == "send"))
    assert sum(call.done for call in calls) == 8_000_000
    assert any(call.done < call.asked for call in calls)
    begins = [call.begin for call in calls]
    assert begins == sorted(begins)
    whys = {p.cause.why for p in sent if p.cause}
    assert "queued" in whys


def test_no_listener(seen: Seen) -> None:
    assert seen.client("refused") == [SYN]
    assert seen.server("refused") == ["RA kernel no listener"]


def test_ports_used_again(seen: Seen) -> None:
    packets = seen.of("same_ports")
    sent = [SYN, "PA call: sendall"]
    assert seen.client("same_ports") == [*sent, "RA call: close", *sent, CLOSE]
    again = max(number for number, packet in enumerate(packets) if packet.flags == "S")
    first, second = ({p.socket for p in part} for part in (packets[:again], packets[again:]))
    assert (len(first), len(second)) == (2, 2)
    assert not first & second


def test_kernel_probes(seen: Seen) -> None:
    assert seen.client("kept_alive") == [SYN, "A kernel keep-alive", CLOSE]


@pytest.mark.parametrize("name", ["killed", "exited"])
def test_a_process_that_ended(seen: Seen, name: str) -> None:
    assert seen.client(name) == [SYN, "PA call: sendall", "FA kernel process ended"]
    (syn,) = [p for p in seen.of(name) if p.flags == "S"]
    assert syn.call is not None
    assert syn.call.process.pid != seen.packets[0][0].call.process.pid  # type: ignore[union-attr]


def test_an_untraced_end(seen: Seen) -> None:
    unknown = "unknown sender not traced"
    assert seen.client("untraced") == [f"S {unknown}", f"PA {unknown}", f"FA {unknown}"]
    assert seen.server("untraced") == [SYN_ACK, CLOSE]
    assert seen.ended("untraced")[0] == ("S", "accept")


def test_a_descriptor_that_another_process_holds(seen: Seen) -> None:
    assert seen.client("shared") == [SYN, "FA unknown closed before, held by another process"]


@pytest.mark.parametrize("name", ["udp4", "udp6"])
def test_datagrams(seen: Seen, name: str) -> None:
    assert seen.client(name) == ["call: sendto", "call: send", "call: send", "call: send send"]
    assert [p.length for p in seen.of(name)] == [11, 9, 0, 12]


def test_multicast(seen: Seen) -> None:
    assert seen.client("multicast") == ["call: sendto"]
    assert seen.ended("multicast") == [("", "recvfrom")]


def test_waits(seen: Seen) -> None:
    assert seen.ended("waits") == [("S", "accept"), ("PA", "recv"), ("FA", "recv")]
    assert seen.ended("lingering") == [("RA", "recv")]
    assert seen.client("lingering") == [SYN, "RA call: close"]


def test_kernel_and_segments_agree_on_each_connection(seen: Seen) -> None:
    if missing := lacking():
        pytest.skip(missing)
    problems: list[str] = []
    states = read(seen.folder / FILE, problems)
    assert problems == []
    kernel = KernelPaths(states)
    connections = inspect_file(seen.folder / PACKETS).connections
    assert len(connections) > 15
    for connection in connections:
        client, server = kernel.of(connection)
        assert client
        assert server or connection.opening.kind == "refused"
        assert difference(connection, (client, server)) == ""


# -- what a wire loses: recorded traces, made with nftables and tun ------------------------------


def recorded(name: str) -> Callable[[str], list[Packet]]:
    packets = list(Trace.open(RECORDED / name).packets())
    return lambda text: [p for p in packets if told(p) == text]


def test_retransmissions() -> None:
    opened = recorded("openings-lost")
    assert len(opened("S kernel retransmission: connect")) == 3
    assert len(opened("SA kernel retransmission")) == 2
    closed = recorded("closings-lost")
    assert len(closed("PA kernel retransmission: sendall")) == 1
    assert len(closed("FA kernel retransmission: shutdown(SHUT_WR)")) == 3
    assert len(closed("FA kernel retransmission: close")) == 1


def test_closed_windows() -> None:
    found = recorded("zero-windows")
    assert len(found("A kernel window probe")) == 2
    assert len(found("A kernel window update")) == 2
    assert len(found("PA call queued: send")) > 4


def test_resets() -> None:
    found = recorded("resets")
    assert len(found("RA call: close")) == 4
    assert len(found("R kernel no socket left")) == 1
    assert len(found("RA kernel process ended")) == 1
