"""Sockets that somebody else changes out of our sight: forked children, subprocesses, receivers of
descriptors, code that has the number. What they did is possible, and no legal call is stopped."""

from __future__ import annotations

import _socket
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sockfsm
from sockfsm.tracer import current, elsewhere
from sockfsm.tracer.rows import Model
from sockfsm.tracer.witness import facts, fits

KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # short enough for the name of a UNIX socket
        yield Path(name)


def in_a_child(work: Callable[[], object]) -> None:
    """Fork, do it there, and wait for its end."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def by_number(name: str, *args: str) -> Callable[[socket.socket], object]:
    """A subprocess that gets the descriptor, and calls one method of it."""

    def change(sock: socket.socket) -> None:
        code = (
            "import socket, sys; s = socket.socket(fileno=int(sys.argv[1]));"
            f"getattr(s, {name!r})(*map(int, sys.argv[2:]))"
        )
        number = sock.fileno()
        subprocess.run(
            [sys.executable, "-Sc", code, str(number), *args], pass_fds=[number], check=True
        )

    return change


def by_message(name: str, *args: int) -> Callable[[socket.socket], object]:
    """A process that was there before gets the descriptor in a message."""

    def change(sock: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(ours, [b"x"], [sock.fileno()])
            _, (number,), _, _ = socket.recv_fds(theirs, 1, 1)
            other = _socket.socket(fileno=number)
            getattr(other, name)(*args)
            other.close()

    return change


def forked(name: str, *args: int) -> Callable[[socket.socket], object]:
    return lambda sock: in_a_child(lambda: getattr(sock, name)(*args))


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("change", [forked("listen"), by_number("listen"), by_message("listen", 5)])
def test_a_socket_that_others_let_listen_accepts(
    mode: str, change: Callable[[socket.socket], object]
) -> None:
    with sockfsm.tracing(mode=mode) as trace:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        change(sock)
        with socket.create_connection(sock.getsockname()), sock.accept()[0]:
            assert sockfsm.state(sock) == "LISTENING"
        sock.close()
    assert [c.method for c in trace.calls() if not c.explained] == []
    assert any("changed by another process" in problem for problem in trace.problems)


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("change", [forked("shutdown", 1), by_message("shutdown", 1)])
def test_a_direction_that_others_shut_is_shut(
    mode: str, change: Callable[[socket.socket], object]
) -> None:
    with sockfsm.tracing(mode=mode) as trace:
        a, b = socket.socketpair()
        change(a)
        with pytest.raises(BrokenPipeError):
            a.send(b"x")
        a.close()
        b.close()
    assert [c.method for c in trace.calls() if not c.explained] == []


def test_what_nobody_else_holds_is_not_excused() -> None:
    with sockfsm.tracing() as trace:
        in_a_child(lambda: None)  # before the socket was there
        sock = socket.create_server(("127.0.0.1", 0))
        beside = _socket.socket(fileno=os.dup(sock.fileno()))
        beside.shutdown(socket.SHUT_RD)
        beside.close()
        with pytest.raises(OSError, match="Invalid argument"):
            sock.accept()
        sock.close()
    assert [c.method for c in trace.calls() if not c.explained] == ["accept"]


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_child_does_is_possible_and_nothing_legal_is_stopped(
    mode: str, kind: str, folder: Path
) -> None:
    """Random calls, some by way of a number that is not traced. Where enforce stops one it would have
    been refused: an untraced twin, asked at once, is refused as well."""
    chance = random.Random(kind)
    family, type_ = KINDS[kind]
    inet = family == socket.AF_INET
    wrong: list[object] = []
    with sockfsm.tracing(mode=mode) as trace:
        peer = socket.socket(family, type_)
        peer.bind(("127.0.0.1", 0) if inet else str(folder / "peer"))
        if type_ == socket.SOCK_STREAM:
            peer.listen(1000)
        for number in range(250):
            sock = socket.socket(family, type_)
            in_a_child(lambda: None) if number == 0 else elsewhere.share()
            beside = _socket.socket(fileno=os.dup(sock.fileno()))
            sock.settimeout(0)
            name = ("127.0.0.1", 0) if inet else str(folder / f"{number}")
            calls: dict[str, tuple[object, ...]] = {
                "bind": (name,),
                "listen": (1,),
                "connect": (peer.getsockname(),),
                "shutdown": (chance.randrange(3),),
                "send": (b"x",),
                "recv": (5,),
            }
            told: list[tuple[str, object]] = []
            for _ in range(8):
                which = chance.choice(list(calls))
                ours = chance.random() < 0.5
                told.append((which, ours))
                try:
                    getattr(sock if ours else beside, which)(*calls[which])
                except sockfsm.IllegalCall as refused:
                    with contextlib.suppress(OSError):
                        getattr(beside, which)(*calls[which])
                        wrong.append((told, str(refused)))
                except OSError:
                    pass
                tracked = current.session.records[id(sock)]
                if ours and not fits(sock, tracked.row) and which not in ("send", "recv"):
                    told.append((tracked.row.state, facts(sock)))
            beside.close()
            sock.close()
        peer.close()
    unexplained = [(c.method, c.before, c.outcome) for c in trace.calls() if not c.explained]
    assert (unexplained, wrong) == ([], [])


SPAWN: dict[str, Callable[[], object]] = {
    "posix_spawn": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "posix_spawnp": lambda: os.waitpid(os.posix_spawnp("true", ["true"], {}), 0),
    "system": lambda: os.system("true"),
    "subprocess": lambda: subprocess.run(["true"]),
    "fork": lambda: in_a_child(lambda: None),
}


@pytest.mark.parametrize("name", SPAWN)
def test_a_process_that_is_begun_may_have_every_socket_that_was_made_until_it_was(
    name: str,
) -> None:
    with sockfsm.tracing(), socket.socket() as before:
        session = current.session
        model, shared = session.records[id(before)].model, session.shared
        assert not elsewhere.shared(session, model)
        SPAWN[name]()
        assert elsewhere.shared(session, model)
        # One that another thread had made meanwhile, too.
        assert elsewhere.shared(session, Model(0, model.row, shared + 1))
        with socket.socket() as after:
            assert not elsewhere.shared(session, session.records[id(after)].model)


PROBE, CONFIRM = 0x10, 0x800


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("flags", [PROBE, PROBE | CONFIRM])
@pytest.mark.parametrize("data", [b"x", b""])
def test_a_datagram_that_only_probes_passes_by_a_direction_that_is_shut(
    connected: bool, flags: int, data: bytes
) -> None:
    """And so it does under enforce, which refuses to shut one that is not connected."""
    for mode in ("observe", "enforce") if connected else ("observe",):
        with sockfsm.tracing(mode=mode) as trace:
            sock, sink = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "12")
            sink.bind(("127.0.0.1", 0))
            if connected:
                sock.connect(sink.getsockname())
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            if connected:
                assert sock.send(data, flags) == len(data)
            assert sock.sendto(data, flags, sink.getsockname()) == len(data)
            assert sock.sendmsg([data], (), flags, sink.getsockname()) == len(data)
            with pytest.raises(BrokenPipeError):
                sock.sendto(data, sink.getsockname())
            assert fits(sock, current.session.records[id(sock)].row)
            sock.close()
            sink.close()
        assert all(call.explained for call in trace.calls())


def test_a_number_that_dup2_gives_another_socket_is_that_socket() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        c.shutdown(socket.SHUT_WR)
        assert os.dup2(c.fileno(), a.fileno()) == a.fileno()
        assert b.recv(5) == b""  # its peer is closed
        assert sockfsm.state(a) == "WRITE_SHUT"
        with pytest.raises(BrokenPipeError):
            a.send(b"x")
        c.close()
        d.send(b"x")
        assert a.recv(5) == b"x"
        a.close()
        assert d.recv(5) == b""
        for sock in (b, d):
            sock.close()
    assert all(call.explained for call in trace.calls())
    assert sum(call.after == "CLOSED" for call in trace.calls() if call.before != "CLOSED") == 4


def test_a_number_that_dup2_gives_another_file_is_no_socket_any_more() -> None:
    with sockfsm.tracing() as trace, open(os.devnull, "rb") as file:
        a, b = socket.socketpair()
        os.dup2(file.fileno(), a.fileno())
        assert b.recv(5) == b""
        with pytest.raises(OSError, match="non-socket"):
            a.send(b"x")
        a.close()
        b.close()
    assert all(call.explained for call in trace.calls())


def test_a_socket_from_elsewhere_may_be_in_any_state_that_the_kernel_shows() -> None:
    a, b = socket.socketpair()
    a.shutdown(socket.SHUT_WR)
    with sockfsm.tracing(mode="enforce") as trace:
        assert sockfsm.state(a) == "CONNECTED"  # the likeliest
        assert "WRITE_SHUT" in current.session.records[id(a)].row.states.split("|")
        with pytest.raises(BrokenPipeError):
            a.send(b"x")
        left = current.session.records[id(a)].row.states.split("|")
        assert "WRITE_SHUT" in left
        assert "PEER_CLOSED" not in left  # from there a send() would have gone out
        a.close()
        b.close()
    assert [c.method for c in trace.calls() if not c.explained] == []


def test_a_twin_is_a_twin_whatever_its_class_makes_first() -> None:
    class Waking(socket.socket):
        def __init__(self, *args: object, **named: object) -> None:
            self.wakers = socket.socketpair()
            self.beside = socket.socket(fileno=os.dup(self.wakers[0].fileno()))
            super().__init__(*args, **named)  # type: ignore[arg-type]

    with sockfsm.tracing():
        sock = Waking()
        twin = sock.dup()
        found = {
            id(each): current.session.records[id(each)].model
            for each in (sock, twin, *sock.wakers, *twin.wakers, sock.beside, twin.beside)
        }
        assert found[id(sock)] is found[id(twin)]
        assert found[id(twin.beside)] is found[id(twin.wakers[0])]
        assert len({id(model) for model in found.values()}) == 5
        for each in (sock, twin):
            for one in (each, *each.wakers, each.beside):
                one.close()
