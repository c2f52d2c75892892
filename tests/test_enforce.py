"""Enforce: an illegal call raises before the kernel is touched; stricter machines; callbacks."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import sockfsm

Case = tuple[Callable[[], socket.socket], Callable[[socket.socket], object], int]


def test_an_illegal_call_carries_everything_and_leaves_the_state() -> None:
    with sockfsm.tracing(mode="enforce") as trace:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(BrokenPipeError) as caught:
            sock.send(b"x")
        assert sockfsm.state(sock) == "BOUND"
        sock.close()
    error = caught.value
    assert isinstance(error, sockfsm.IllegalCall)
    assert (error.errno, error.machine, error.state, error.call) == (
        errno.EPIPE,
        "tcp",
        "BOUND",
        "send",
    )
    assert "listen" in error.legal
    assert "send" not in error.legal
    assert [c.call for c in error.history][:2] == ["create", "bind"]
    assert all(c.site is not None for c in error.history)
    assert __file__ in str(error)
    (refused,) = [c for c in trace.calls() if c.refused]
    assert refused.enforced
    assert refused.before == refused.after == "BOUND"


def test_the_kernel_is_not_touched() -> None:
    # A failed shutdown of a fresh TCP socket shuts it all the same; a refused one cannot.
    with sockfsm.tracing(mode="enforce"), socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.socket()
        with pytest.raises(sockfsm.IllegalCall):
            client.shutdown(socket.SHUT_WR)
        client.connect(listening.getsockname())
        assert client.send(b"x") == 1
        client.close()


def test_observe_leaves_the_trap_as_it_is() -> None:
    with sockfsm.tracing() as trace, socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.socket()
        with pytest.raises(OSError, match="not connected"):
            client.shutdown(socket.SHUT_WR)
        client.connect(listening.getsockname())
        with pytest.raises(BrokenPipeError):
            client.send(b"x")
        client.close()
    assert all(call.explained for call in trace.calls())


def test_every_guarded_call_of_a_closed_socket() -> None:
    with sockfsm.tracing(mode="enforce"):
        sock = socket.socket()
        sock.close()
        for call in (
            lambda: sock.bind(("127.0.0.1", 0)),
            sock.listen,
            sock.accept,
            lambda: sock.connect(("127.0.0.1", 1)),
            lambda: sock.send(b""),
            lambda: sock.recv(1),
            lambda: sock.shutdown(socket.SHUT_RDWR),
        ):
            with pytest.raises(sockfsm.IllegalCall) as caught:
                call()
            assert caught.value.errno == errno.EBADF
        sock.close()


def test_what_asks_for_no_byte_passes_on_a_closed_socket_as_in_plain_python() -> None:
    plain = socket.socket()
    plain.close()
    with sockfsm.tracing(mode="enforce"):
        traced = socket.socket()
        traced.close()
        for sock in (plain, traced):
            assert sock.recv(0) == b""
            assert sock.recv_into(bytearray()) == 0
        with pytest.raises(sockfsm.IllegalCall):
            traced.recv(1)


def test_what_the_kernel_would_refuse_otherwise_it_refuses_itself(tmp_path: Path) -> None:
    """The arguments of a call may give it another answer than its state does."""

    def answers(sock: socket.socket, call: Callable[[socket.socket], object]) -> int | None:
        try:
            call(sock)
        except OSError as error:
            return error.errno
        return 0

    def tcp() -> socket.socket:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        return sock

    def udp() -> socket.socket:
        return socket.socket(type=socket.SOCK_DGRAM)

    def unix() -> socket.socket:
        path = str(tmp_path / "listening")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        listening.close()
        os.unlink(path)
        return sock

    cases: list[Case] = [
        (tcp, lambda sock: sock.recv(1, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT), errno.EAGAIN),
        (tcp, lambda sock: sock.recv(1, socket.MSG_OOB), errno.EINVAL),
        (tcp, lambda sock: sock.bind(("192.0.2.1", 0)), errno.EADDRNOTAVAIL),
        (udp, lambda sock: sock.send(b"x", socket.MSG_OOB), errno.EOPNOTSUPP),
        (udp, lambda sock: sock.send(bytes(70_000)), errno.EMSGSIZE),
        (udp, lambda sock: sock.sendmsg([bytes(70_000)]), errno.EMSGSIZE),
        (unix, lambda sock: sock.connect(str(tmp_path / "absent")), errno.ENOENT),
    ]
    for make, call, expected in cases:
        with make() as plain:
            assert answers(plain, call) == expected
        with sockfsm.tracing(mode="enforce"), make() as sock:
            assert answers(sock, call) == expected


def test_a_stricter_machine() -> None:
    strict = sockfsm.machine("tcp", fresh=True)
    strict.remove_transition("listen_ok", source="CREATED")
    with sockfsm.tracing(mode="enforce", machines={"tcp": strict}):
        sock = socket.socket()
        with pytest.raises(PermissionError, match="stricter machine") as caught:
            sock.listen()
        assert isinstance(caught.value, sockfsm.IllegalCall)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.close()


def test_callbacks_of_transitions_run() -> None:
    machine = sockfsm.machine("tcp", fresh=True)
    seen = []
    machine.get_state("LISTENING").add_callback("enter", lambda: seen.append("enter"))
    machine.get_transitions("bind_ok", "CREATED")[0].add_callback(
        "after", lambda: seen.append("bound")
    )
    with sockfsm.tracing(machines={"tcp": machine}) as trace:
        for _ in range(2):
            sock = socket.create_server(("127.0.0.1", 0))
            sock.close()
    assert seen == ["bound", "enter"] * 2
    assert all(call.explained for call in trace.calls())


def test_a_condition_that_says_no_is_shown() -> None:
    machine = sockfsm.machine("tcp", fresh=True)
    (transition,) = machine.get_transitions("bind_ok", "CREATED")
    transition.conditions.append(transition.condition_cls(lambda: False))
    with sockfsm.tracing(machines={"tcp": machine}) as trace:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        assert sockfsm.state(sock) == "CREATED"
        sock.close()
    assert [c.explained for c in trace.calls() if c.call == "bind"] == [False]


def test_bad_arguments_say_what_to_do() -> None:
    with pytest.raises(sockfsm.SockfsmError, match="choose observe or enforce"):
        sockfsm.install(mode="strict")
    with pytest.raises(sockfsm.SockfsmError, match="choose one of tcp"):
        sockfsm.install(machines={"sctp": sockfsm.machine("tcp")})
    with pytest.raises(sockfsm.SockfsmError, match="no kind 'sctp'"):
        sockfsm.machine("sctp")
    assert "send" not in socket.socket.__dict__


def test_what_a_child_process_did_to_the_socket_is_not_held_against_it() -> None:
    """A forked child listens on the shared socket: the parent may accept."""
    with sockfsm.tracing(mode="enforce"):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        child = os.fork()
        if not child:
            sock.listen()
            os._exit(0)
        os.waitpid(child, 0)
        client = socket.create_connection(sock.getsockname())
        data, _ = sock.accept()
        for end in (sock, client, data):
            end.close()


def test_a_descriptor_that_dup2_put_under_the_object_is_asked() -> None:
    with sockfsm.tracing(mode="enforce"):
        fresh, (a, b) = socket.socket(socket.AF_UNIX), socket.socketpair()
        os.dup2(a.fileno(), fresh.fileno())
        assert fresh.send(b"x") == 1
        assert b.recv(5) == b"x"
        for sock in (fresh, a, b):
            sock.close()


def test_a_connection_that_c_code_made_is_seen() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with sockfsm.tracing(mode="enforce"), socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.socket()
        host, port = server.getsockname()
        name = struct.pack("!HH4s8x", 0, port, socket.inet_aton(host))
        name = struct.pack("=H", socket.AF_INET) + name[2:]
        assert libc.connect(sock.fileno(), name, len(name)) == 0
        assert sock.send(b"x") == 1
        sock.close()


def test_fast_open_is_no_send_on_a_fresh_socket() -> None:
    with sockfsm.tracing(mode="enforce"), socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.socket()
        assert sock.sendto(b"x", socket.MSG_FASTOPEN, server.getsockname()) == 1
        sock.close()


def test_connect_ex_tells_its_errors_by_its_result() -> None:
    with sockfsm.tracing(mode="enforce") as trace, socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        assert client.connect_ex(server.getsockname()) == errno.EISCONN
        client.close()
    (refused,) = [c for c in trace.calls() if c.method == "connect_ex"]
    assert refused.enforced
    assert refused.outcome == "EISCONN"


def test_what_the_kernel_cannot_show_it_judges_itself_and_the_words_are_the_same() -> None:
    """SHUT_WR of a fresh socket: nothing shows the flag, but the next send fails by it."""
    with sockfsm.tracing(mode="enforce") as trace:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pytest.raises(sockfsm.IllegalCall):
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        a, b = socket.socketpair()
        a.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError) as caught:
            a.send(b"x")
        assert isinstance(caught.value, sockfsm.IllegalCall)
        assert "SHUT_WR" in str(caught.value)
        a.close()
        b.close()
    (send,) = [c for c in trace.calls() if c.method == "send"]
    assert (send.outcome, send.enforced, send.refused) == ("EPIPE", False, True)


def test_a_method_that_is_named_with_its_argument_is_not_called_twice() -> None:
    with (
        sockfsm.tracing(mode="enforce"),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket() as fresh,
    ):
        with pytest.raises(sockfsm.IllegalCall, match=r"\] shutdown[(]SHUT_WR[)] is illegal"):
            fresh.shutdown(socket.SHUT_WR)
        server.shutdown(socket.SHUT_RDWR)
        with pytest.raises(sockfsm.IllegalCall, match=r"by shutdown[(]SHUT_RDWR[)] at"):
            server.accept()
