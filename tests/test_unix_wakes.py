"""Which call of another end ended which wait, on AF_UNIX sockets: no packet tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

from sockfsm.events import Call
from sockfsm.trace.stream import events
from sockfsm.trace.trace import Trace

ASLEEP = Path(__file__).with_name("asleep.py").read_text()
PROGRAM = """
import os, socket, threading
from socket import AF_UNIX, SOCK_DGRAM, SHUT_WR

def blocked(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    asleep(thread)
    return thread

def after(call, act):
    thread = blocked(call)
    act()
    thread.join()

accepted = []
listening = socket.socket(AF_UNIX)
listening.bind("stream")
listening.listen(0)
client = socket.socket(AF_UNIX)
after(lambda: accepted.append(listening.accept()[0]), lambda: client.connect("stream"))
data = accepted[0]
after(lambda: data.recv(9), lambda: client.sendall(b"hello"))
after(lambda: client.recv(9), lambda: data.send(b"hi"))
after(lambda: data.recv(9), lambda: client.shutdown(SHUT_WR))
after(lambda: client.recv(9), lambda: data.close())

first, second = socket.socket(AF_UNIX), socket.socket(AF_UNIX)
first.connect("stream")  # the backlog is full now
after(lambda: second.connect("stream"), lambda: accepted.append(listening.accept()[0]))

target, source = socket.socket(AF_UNIX, SOCK_DGRAM), socket.socket(AF_UNIX, SOCK_DGRAM)
target.bind("datagrams")
after(lambda: target.recvfrom(9), lambda: source.sendto(b"one", "datagrams"))

one, two = socket.socketpair()
child = os.fork()
if not child:
    one.close()
    two.recv(9)
    two.recv(9)
    os._exit(0)
two.close()
while open(f"/proc/{child}/stat").read().rsplit(") ", 1)[1][0] != "S":
    pass
one.sendall(b"across")
while True:
    # The child's second recv sleeps when the first one's bytes are gone.
    import fcntl, struct, termios
    left = struct.unpack("i", fcntl.ioctl(one, termios.TIOCOUTQ, bytes(4)))[0]
    if not left and open(f"/proc/{child}/stat").read().rsplit(") ", 1)[1][0] == "S":
        break
one.close()
os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Call, Call]]:
    """(the call, the one whose wait it ended), in order."""
    folder = tmp_path_factory.mktemp("unix")
    (folder / "program.py").write_text(ASLEEP + PROGRAM)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", "trace", "program.py"]
    subprocess.run(command, check=True, timeout=PATIENCE, cwd=folder)
    trace = Trace.open(folder / "trace")
    return [(m.event, m.ended) for m in events(trace) if isinstance(m.event, Call) and m.ended]


def test_what_ended_what(found: list[tuple[Call, Call]]) -> None:
    assert [(call.method, ended.method, ended.outcome) for call, ended in found] == [
        ("connect", "accept", "ok"),
        ("sendall", "recv", "ok"),
        ("send", "recv", "ok"),
        ("shutdown(SHUT_WR)", "recv", "eof"),
        ("close", "recv", "eof"),
        ("accept", "connect", "ok"),
        ("sendto", "recvfrom", "ok"),
        ("sendall", "recv", "ok"),
        ("close", "recv", "eof"),
    ]


def test_it_is_another_end_at_that_time(found: list[tuple[Call, Call]]) -> None:
    for call, ended in found:
        assert call.socket is not ended.socket
        assert ended.waited
        assert ended.begin <= call.end
        assert call.begin <= ended.end
    (across, through) = found[-1]
    assert across.process is not through.process
