"""Two threads' calls on one socket at the same time: the kernel does them in one order or the other.

Nobody outside the kernel sees which. Both stay possible, and what happened is among them.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import sockfsm
from sockfsm.tracer import calls as calls_module
from sockfsm.tracer import sockets
from sockfsm.tracer.witness import facts, fits

KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}
Call = Callable[[socket.socket], object]


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # short enough for the name of a UNIX socket
        yield Path(name)


def calls(kind: str, peer: socket.socket, folder: Path, number: int) -> dict[str, Call]:
    """What a thread may do with a socket, by name."""
    inet = kind in ("tcp", "udp")
    name = ("127.0.0.1", 0) if inet else str(folder / f"{number}")
    return {
        "bind": lambda sock: sock.bind(name),
        "listen": lambda sock: sock.listen(1),
        "accept": lambda sock: sock.accept()[0].close(),
        "connect": lambda sock: sock.connect(peer.getsockname()),
        "connect_ex": lambda sock: sock.connect_ex(peer.getsockname()),
        "send": lambda sock: sock.send(b"x"),
        "recv": lambda sock: sock.recv(5),
        "shutdown_rd": lambda sock: sock.shutdown(socket.SHUT_RD),
        "shutdown_wr": lambda sock: sock.shutdown(socket.SHUT_WR),
        "shutdown_rdwr": lambda sock: sock.shutdown(socket.SHUT_RDWR),
        "so_error": lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        "close": lambda sock: sock.close(),
    }


class Two:
    """Two threads that begin a call each at the same moment."""

    def __init__(self) -> None:
        self.start, self.end = threading.Barrier(3), threading.Barrier(3)
        self.work: list[Callable[[], object] | None] = [None, None]
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(2)]
        for thread in self.threads:
            thread.start()

    def _run(self, index: int) -> None:
        while True:
            self.start.wait()
            work = self.work[index]
            if work is None:
                return
            with contextlib.suppress(OSError):
                work()
            self.end.wait()

    def do(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        self.work = [first, second]
        self.start.wait()
        self.end.wait()

    def stop(self) -> None:
        self.work = [None, None]
        self.start.wait()
        for thread in self.threads:
            thread.join()


def attempt(
    kind: str, timeout: float | None, folder: Path, chance: random.Random, rounds: int
) -> tuple[list[object], list[object]]:
    """(what was unexplained, what the kernel showed and nobody thought possible)."""
    family, type_ = KINDS[kind]
    two = Two()
    wrong: list[object] = []
    with sockfsm.tracing() as trace:
        peer = socket.socket(family, type_)
        peer.bind(("127.0.0.1", 0) if kind in ("tcp", "udp") else str(folder / "peer"))
        if type_ == socket.SOCK_STREAM:
            peer.listen(1000)
        try:
            for number in range(rounds):
                sock = socket.socket(family, type_)
                sock.settimeout(timeout)
                able = calls(kind, peer, folder, number)
                if timeout is None:
                    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 0, 10_000))
                told = []
                for name in chance.choices(list(able), k=chance.randrange(3)):
                    told.append(name)
                    with contextlib.suppress(OSError):
                        able[name](sock)
                for _ in range(3):
                    left, right = chance.choices(list(able), k=2)
                    told.append(f"{left}||{right}")
                    two.do(partial(able[left], sock), partial(able[right], sock))
                    tracked = sockets.records[id(sock)]
                    if tracked.open and not fits(sock, tracked.row):
                        wrong.append((told, tracked.row.states, facts(sock)))
                        break
                sock.close()
        finally:
            two.stop()
            peer.close()
    stories: dict[str, list[object]] = defaultdict(list)
    unexplained: list[object] = []
    for call in trace.calls():
        assert call.socket is not None
        story = stories[call.socket.identity]
        story.append((call.method, call.before, call.outcome, call.after))
        if not call.explained:
            unexplained.append(tuple(story))
    return unexplained, wrong


@pytest.mark.parametrize("timeout", [0, 0.01, None])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_kernel_made_of_two_calls_at_once_is_among_the_possible(
    kind: str, timeout: float | None, folder: Path
) -> None:
    chance = random.Random(f"{kind} {timeout}")
    assert attempt(kind, timeout, folder, chance, 150) == ([], [])


def between(monkeypatch: pytest.MonkeyPatch, name: str, other: Callable[[], object]) -> None:
    """Let another thread do `other` when the kernel has done a call `name`, before its record."""
    plain, once = calls_module._plain[name], [1]

    def call(sock: socket.socket, *args: object) -> object:
        try:
            return plain(sock, *args)
        finally:
            if once:
                once.pop()
                thread = threading.Thread(target=other)
                thread.start()
                thread.join()

    monkeypatch.setitem(calls_module._plain, name, call)


def test_listening_and_shutting_at_once_may_have_ended_either_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sockfsm.tracing() as trace:
        sock = socket.socket()
        between(monkeypatch, "listen", lambda: sock.shutdown(socket.SHUT_RD))
        sock.listen()
        assert fits(sock, sockets.records[id(sock)].row)
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.listen()
        sock.close()
    assert all(call.explained for call in trace.calls())


def test_what_a_shutdown_left_of_a_connect_under_way_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sockfsm.tracing() as trace:
        peer, sock = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        peer.bind(("127.0.0.1", 0))

        def connected() -> None:
            sock.connect(peer.getsockname())
            sock.send(b"x")

        between(monkeypatch, "shutdown", connected)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RD)  # refused, and yet the direction is shut
        assert sock.recv(5) == b""
        sock.close()
        peer.close()
    assert all(call.explained for call in trace.calls())


def test_the_earlier_of_two_calls_that_do_not_overlap_came_first() -> None:
    with sockfsm.tracing():
        sock = socket.socket()
        sock.listen()
        sock.shutdown(socket.SHUT_RD)
        assert sockets.records[id(sock)].row.states == "CREATED"
        sock.close()
