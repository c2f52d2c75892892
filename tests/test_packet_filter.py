"""Whose packets are kept: by both ends, and by when they were a traced socket's."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE
from synthetic import MS, Story

import sockfsm
from sockfsm.events import Packet
from sockfsm.export.pcapng import pieces
from sockfsm.trace import keeping
from sockfsm.trace.packet_filter import PacketFilter
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.tracer import packets as tracing_packets
from sockfsm.wire.headers import packets

HERE, THERE, OTHER = ("127.0.0.1", 7000), ("127.0.0.1", 50123), ("127.0.0.1", 50999)


def packet(at: float, source: object, target: object, flags: str = "S") -> Packet:
    time = 1_000 * MS + round(at * MS)
    protocol = "tcp" if flags else "udp"
    return Packet(time, time, protocol, source, target, flags, 0, 0, 0, 0, b"", 1)  # type: ignore[arg-type]


def listening() -> Story:
    """A listener at HERE from 10 to 20 ms."""
    story = Story()
    story.process()
    one = story.socket(local=HERE)
    story.call(10, one, "bind", states="CREATED -> BOUND", address=HERE)
    story.call(10.1, one, "listen", states="BOUND -> LISTENING")
    story.call(20, one, "close", states="LISTENING -> CLOSED")
    return story


def test_a_listeners_port_while_it_listens() -> None:
    ours = PacketFilter(listening().calls())
    assert not ours.keeps(packet(5, THERE, HERE))
    assert not ours.keeps(packet(15, HERE, THERE, "A"))  # goes on with what opened before
    assert ours.keeps(packet(12, OTHER, HERE))
    assert not ours.keeps(packet(25, ("127.0.0.1", 51000), HERE))


def test_a_connection_stays_what_it_was_when_it_opened() -> None:
    ours = PacketFilter(listening().calls())
    assert ours.keeps(packet(12, THERE, HERE))
    assert ours.keeps(packet(30, HERE, THERE, "FA"))
    assert ours.keeps(packet(31, THERE, HERE, "A"))
    assert not ours.keeps(packet(32, THERE, HERE, "S"))  # the same ends again, and nobody listens
    assert not ours.keeps(packet(33, HERE, THERE, "RA"))


def test_a_clients_connection_and_nobody_elses_from_or_to_its_ends() -> None:
    story = Story()
    story.process()
    client = story.socket(local=THERE, remote=HERE)
    story.call(10, client, "connect", states="CREATED -> CONNECTED", took=1, address=HERE)
    story.call(20, client, "close", states="CONNECTED -> CLOSED")
    ours = PacketFilter(story.calls())
    assert not ours.keeps(packet(5, THERE, HERE))
    assert ours.keeps(packet(10.5, THERE, HERE))
    assert ours.keeps(packet(10.6, HERE, THERE, "SA"))
    assert not ours.keeps(packet(12, OTHER, HERE))  # a stranger talks to the same server
    assert not ours.keeps(packet(12, THERE, ("127.0.0.1", 7001)))  # from the same port to another
    assert ours.keeps(packet(25, HERE, THERE, "A"))  # what the kernel does after close()
    assert not ours.keeps(packet(30, THERE, HERE))


def test_a_refused_connect_has_no_known_name() -> None:
    story = Story()
    story.process()
    client = story.socket()
    story.call(10, client, "connect", "ECONNREFUSED", states="CREATED", took=1, address=HERE)
    ours = PacketFilter(story.calls())
    assert ours.keeps(packet(10.5, THERE, HERE))
    assert ours.keeps(packet(10.6, HERE, THERE, "RA"))
    assert not ours.keeps(packet(15, OTHER, HERE))


def test_datagrams() -> None:
    story = Story()
    story.process()
    bound = story.socket("udp", local=HERE)
    nameless = story.socket("udp")
    story.call(10, bound, "bind", states="CREATED -> BOUND", address=HERE)
    story.call(20, bound, "close", states="BOUND -> CLOSED")
    far = ("127.0.0.1", 9000)
    story.call(12, nameless, "sendto", states="CREATED", took=1, address=far)
    story.call(18, nameless, "close", states="CREATED -> CLOSED")
    ours = PacketFilter(story.calls())
    assert not ours.keeps(packet(5, THERE, HERE, ""))
    assert ours.keeps(packet(15, THERE, HERE, ""))
    assert not ours.keeps(packet(25, THERE, HERE, ""))
    assert ours.keeps(packet(12.5, OTHER, far, ""))
    assert ours.keeps(packet(13.5, far, OTHER, ""))  # the answer to a socket without a known name
    assert not ours.keeps(packet(14, ("127.0.0.1", 3), far, ""))
    assert not ours.keeps(packet(19, far, OTHER, ""))


def test_a_socket_that_a_process_left_open_ends_with_it() -> None:
    story = Story()
    process = story.process()
    one = story.socket(local=HERE)
    story.call(10, one, "listen", states="CREATED -> LISTENING", address=HERE)
    process.ended = 1_020 * MS
    ours = PacketFilter(story.calls())
    assert ours.keeps(packet(15, THERE, HERE))
    assert not ours.keeps(packet(25, OTHER, HERE))


STRANGER = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
client = socket.create_connection(server.getsockname())
data, _ = server.accept()
client.sendall(b"stranger"); data.recv(8)
print(server.getsockname()[1], client.getsockname()[1], flush=True)
client.close(); data.close(); server.close()
"""


def stranger(port: int = 0) -> tuple[int, int]:
    """Another process listens at a port and talks to itself: that port, and the client's."""
    command = [sys.executable, "-c", STRANGER, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    server, client = map(int, done.stdout.split())
    return server, client


@pytest.fixture
def talk() -> Iterator[object]:
    held: list[socket.socket] = []

    def talk(port: int) -> int:
        server = socket.socket()
        held.append(server)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        client = socket.create_connection(server.getsockname())
        data, _ = server.accept()
        client.sendall(b"ours")
        data.recv(4)
        mine: int = client.getsockname()[1]
        client.close()
        data.close()
        server.close()
        return mine

    yield talk
    for each in held:
        each.close()


def test_strangers_on_our_port_before_and_after(tmp_path: Path, talk: object) -> None:
    """Real sockets: a port was a stranger's, is ours, and is a stranger's again."""
    with sockfsm.tracing(tmp_path / "trace", capture=True) as trace:
        port, before = stranger()
        ours = talk(port)  # type: ignore[operator]
        _, after = stranger(port)
    assert len({before, ours, after}) == 3
    seen = {p.source[1] for p in trace.packets()} | {p.target[1] for p in trace.packets()}
    assert seen == {port, ours}
    assert any(p.length == 4 for p in trace.packets())
    assert "of others left out" in trace.about["capture"]


def test_everybodys_when_asked_for(tmp_path: Path) -> None:
    trace = Trace(tmp_path)
    capture = tracing_packets.begin(trace, pytest.fail, all_packets=True)
    assert capture is not None
    _, client = stranger()
    tracing_packets.finish(capture, trace, pytest.fail, all_packets=True)
    assert any(client in (p.source[1], p.target[1]) for p in trace.packets())


def test_what_nobody_came_to_leave_out_is_left_out_by_who_reads(
    tmp_path: Path, talk: object
) -> None:
    """While the program runs, and where the supervisor was killed before it had put in order."""
    with sockfsm.tracing(tmp_path / "trace") as trace:
        capture = tracing_packets.begin(trace, pytest.fail)
        assert capture is not None
        _, theirs = stranger()
        ours = talk(0)  # type: ignore[operator]
    capture.stop()
    again = Trace(tmp_path / "trace")
    assert theirs in {p.source[1] for p in packets_in(again)}
    assert all(ours in (p.source[1], p.target[1]) for p in again.packets())
    assert any(p.length == 4 for p in again.packets())
    (one,) = again.report().connections
    assert ours in (one.client[1], one.server[1])
    exported = tmp_path / "exported.pcapng"
    exported.write_bytes(b"".join(pieces(again)))
    assert {ours} < {end[1] for p in packets(exported) for end in (p.source, p.target)}
    assert theirs not in {p.source[1] for p in packets(exported)}


def packets_in(trace: Trace) -> Iterator[Packet]:
    return packets(trace.path / PACKETS)


def test_a_strangers_syn_that_comes_while_we_read_is_left_out() -> None:
    elsewhere = ("127.0.0.1", 9)
    later = packet(1e12, OTHER, elsewhere)
    assert not list(keeping.ours(listening(), iter([later])))
