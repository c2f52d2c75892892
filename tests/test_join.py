"""Packets joined with the calls that caused them: real programs, traced and captured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

from sockfsm.events import Call, Cause, Packet, Process, Socket, Thread
from sockfsm.trace.causes import NONE_FITS, SEVERAL, Causes
from sockfsm.trace.directory import NOT_TRACED
from sockfsm.trace.join import join
from sockfsm.trace.trace import Trace

PROGRAM = """
import socket, threading
listening = socket.create_server(("127.0.0.1", 0))
def serve():
    data, _ = listening.accept()
    with data:
        while part := data.recv(1000):
            data.sendall(part)
server = threading.Thread(target=serve, daemon=True)
server.start()
client = socket.create_connection(listening.getsockname())
client.sendall(b"hello")
client.recv(9)
client.sendall(bytes(100_000))
read = 0
while read < 100_000:
    read += len(client.recv(65536))
client.shutdown(socket.SHUT_WR)
client.recv(9)
client.close()
server.join()
listening.close()

target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
target.bind(("127.0.0.1", 0))
source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
source.sendto(b"abc", target.getsockname())
target.recvfrom(9)

closed = socket.socket()
closed.bind(("127.0.0.1", 0))
refused = socket.socket()
assert refused.connect_ex(closed.getsockname()) != 0

listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
client = socket.create_connection(listening.getsockname()[:2])
data, _ = listening.accept()
client.sendall(b"never read")
data.close()
client.close()
"""


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> list[Packet]:
    folder = tmp_path_factory.mktemp("join")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    trace = folder / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(trace), str(program)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return list(Trace.open(trace).packets())


def caused(packet: Packet) -> str:
    return packet.call.call if packet.call else ""


def test_every_packet_has_its_socket(joined: list[Packet]) -> None:
    assert len(joined) > 20
    assert all(packet.socket is not None for packet in joined)


def test_causes(joined: list[Packet]) -> None:
    tcp = [p for p in joined if p.protocol == "tcp"]
    assert {caused(p) for p in tcp if p.flags == "S"} == {"connect"}
    # A receiver that is slow to acknowledge gets some of it again, which is no call's doing.
    data = [p for p in tcp if p.length and p.cause and p.cause.why != "retransmission"]
    assert {caused(p) for p in data} == {"send"}
    assert {caused(p) for p in tcp if p.flags in ("SA", "A") and not p.length} == {""}
    fins = [caused(p) for p in tcp if "F" in p.flags]
    assert fins[:2] == ["shutdown_wr", "close"]
    (udp,) = [p for p in joined if p.protocol == "udp"]
    assert (udp.call and udp.call.method, udp.length) == ("sendto", 3)


def test_resets(joined: list[Packet]) -> None:
    refusal, unread = [p for p in joined if "R" in p.flags]
    assert refusal.call is None
    assert caused(unread) == "close"
    assert unread.call is not None
    assert unread.call.socket is unread.socket
    assert unread.socket is not None
    assert unread.socket.made_by == "accepted"


def test_the_call_is_the_senders_and_runs_at_that_time(joined: list[Packet]) -> None:
    for packet in joined:
        if packet.call is not None:
            assert packet.call.socket is packet.socket
            assert packet.call.begin - 20_000 <= packet.time


def test_bytes_tell_the_send_when_time_does_not(joined: list[Packet]) -> None:
    """Of 101 sends of the server some went out later: each packet belongs to the send of its bytes."""
    server = [p for p in joined if p.length and p.socket and p.socket.made_by == "accepted"]
    begins = [p.call.begin for p in server if p.call is not None]
    assert len(begins) == len(server)
    assert begins == sorted(begins)


def test_which_packet_ended_which_wait(tmp_path: Path) -> None:
    """Blocked for sure: the server waits in accept and recv until the client's turn has come."""
    program = tmp_path / "program.py"
    program.write_text(
        Path(__file__).with_name("asleep.py").read_text()
        + """
import socket, threading
def serve():
    data, _ = listening.accept()
    assert data.recv(9) == b"hello"
    assert data.recv(9) == b""
listening = socket.create_server(("127.0.0.1", 0))
server = threading.Thread(target=serve, daemon=True)
server.start()
asleep(server)
client = socket.create_connection(listening.getsockname())
asleep(server)
client.sendall(b"hello")
asleep(server)
client.close()
server.join()
"""
    )
    folder = tmp_path / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder), str(program)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    trace = Trace.open(folder)
    found = [(p.flags, p.ended.call) for p in trace.packets() if p.ended]
    assert found == [("S", "accept"), ("PA", "recv"), ("FA", "recv")]


# -- undecided stays undecided ---------------------------------------------------------------------

PROCESS = Process(1, 0, "log", (), 0, 0)
THREADS = [Thread(0, 1, "one"), Thread(1, 2, "two")]
HERE, THERE = ("127.0.0.1", 1000), ("127.0.0.1", 80)


def toy_socket() -> Socket:
    made = Socket("1.1", 1, PROCESS, "tcp", 2, 1, 0, 3, "create")
    made.local, made.remote = HERE, THERE
    return made


def toy_call(
    socket: Socket,
    word: str,
    begin: int,
    end: int,
    *,
    done: int = 0,
    method: str = "",
    thread: int = 0,
) -> Call:
    return Call(
        begin, end, PROCESS, THREADS[thread], socket, method or word, word, "ok", 0, done, done, None,
        None, "A", "A", False, True, False, "",
    )  # fmt: skip


def toy_packet(time: int, flags: str, *, seq: int = 0, length: int = 0) -> Packet:
    return Packet(time, time, "tcp", HERE, THERE, flags, seq, 0, 100, length, b"", 1)


US = 1_000


def test_two_threads_that_send_at_once() -> None:
    made = toy_socket()
    calls = [
        toy_call(made, "connect", 0, 100 * US),
        toy_call(made, "send", 200 * US, 900 * US, done=10),
        toy_call(made, "send", 210 * US, 950 * US, done=10, thread=1),
    ]
    mid = toy_packet(500 * US, "PA", seq=1, length=10)
    (packet,) = join(calls, [mid])
    assert (packet.socket, packet.cause) == (made, SEVERAL)
    story = [toy_packet(50 * US, "S"), mid]
    assert [p.call for p in join(calls, story)] == [calls[0], None]
    both = [story[0], toy_packet(920 * US, "PA", seq=1, length=20)]
    assert [p.cause and p.cause.calls for p in join(calls, both)][1] == (calls[1], calls[2])


def test_tls_bytes_are_not_counted() -> None:
    made = toy_socket()
    calls = [
        toy_call(made, "connect", 0, 100 * US),
        toy_call(made, "send", 200 * US, 300 * US, done=10, method="ssl.write"),
    ]
    story = [toy_packet(50 * US, "S"), toy_packet(9_000 * US, "PA", seq=1, length=40)]
    assert [p.call for p in join(calls, story)] == [calls[0], None]


def test_bytes_of_a_send_that_never_returned_are_not_said_to_be_nobodys() -> None:
    """It still blocks, or was killed: the log has no such call, so none that returned fits."""
    calls = [toy_call(toy_socket(), "connect", 0, 100 * US)]
    story = [toy_packet(50 * US, "S"), toy_packet(9_000 * US, "PA", seq=1, length=40)]
    assert [p.cause.why for p in join(calls, story) if p.cause][1:] == ["no send that has returned"]


def test_a_fin_that_nobody_asked_for() -> None:
    """The process ended, or another one closed: no call of ours caused it."""
    made = toy_socket()
    calls = [toy_call(made, "connect", 0, 100 * US), toy_call(made, "send", 200, 300 * US, done=1)]
    (packet,) = join(calls, [toy_packet(5_000 * US, "FA")])
    assert (packet.socket, packet.call) == (made, None)


def test_packets_of_nobody() -> None:
    stranger = toy_packet(5, "S")
    (found,) = join([], [stranger])
    assert (found.socket, found.receiver, found.cause) == (None, None, NOT_TRACED)


def toy_datagrams(*sends: tuple[int, int, int]) -> Causes:
    """Those of a UDP socket with sends of (begin, end, done)."""
    made, causes = toy_socket(), Causes({})
    for begin, end, done in sends:
        causes.add(toy_call(made, "send", begin * US, end * US, done=done))
    causes.finish()
    return causes


def test_a_datagram_is_its_own_sends_whatever_came_next() -> None:
    causes = toy_datagrams((0, 100, 10), (110, 120, 3))
    assert causes.datagram(10, 105 * US) == Cause("call", "", (causes.sends[0],))


def test_a_datagram_that_no_send_ran_for_has_no_cause() -> None:
    """Lengths that add up are no proof alone."""
    causes = toy_datagrams((0, 100, 10), (110, 120, 3))
    assert causes.datagram(13, 9_000 * US) is NONE_FITS
    assert causes.datagram(13, 115 * US) == Cause("call", "", tuple(causes.sends))
