"""Traced sockets on the running kernel: every call is logged, nothing that a program sees changes."""

from __future__ import annotations

import array
import errno
import gc
import os
import socket
import threading
import warnings
import weakref
from pathlib import Path

import pytest

import sockfsm
from sockfsm.trace.source import TraceSource
from sockfsm.tracer.calls import METHODS_TRACED


def outcomes(trace: TraceSource, *words: str) -> list[tuple[str, str, str, str]]:
    return [
        (c.method, c.outcome, c.before, c.after)
        for c in trace.calls()
        if not words or c.call in words
    ]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
    return client, data


def test_install_and_uninstall_leave_the_class_as_it_was() -> None:
    before = dict(socket.socket.__dict__)
    with sockfsm.tracing():
        assert socket.socket.__dict__["send"] is METHODS_TRACED["send"]
        assert socket.socket.send.__name__ == "send"
    after = dict(socket.socket.__dict__)
    assert after == before
    assert "send" not in after


def test_a_tcp_conversation_from_create_to_close() -> None:
    with sockfsm.tracing() as trace:
        client, data = tcp_pair()
        client.sendall(b"hello")
        assert data.recv(100) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert data.recv(100) == b""
        data.close()
        client.close()
    calls = list(trace.calls())
    listening, client_, data_ = trace.sockets.values()
    assert [s.made_by for s in (listening, client_, data_)] == ["create", "create", "accepted"]
    assert data_.parent == listening.identity
    assert data_.remote == client_.local
    assert data_.local == client_.remote
    path = [c.after for c in calls if c.socket and c.socket.identity == data_.identity]
    assert path[0] == "CONNECTED"
    assert path[-1] == "CLOSED"
    assert [c.before for c in calls if c.call == "accept"] == ["LISTENING"]
    assert all(c.explained for c in calls)
    assert all(c.begin <= c.end for c in calls)
    assert {Path(c.site.file).name for c in calls if c.site and c.call != "resolve"} == {
        Path(__file__).name
    }
    sent = next(c for c in calls if c.method == "sendall")
    assert (sent.asked, sent.done) == (5, 5)
    here = test_a_tcp_conversation_from_create_to_close.__code__.co_firstlineno
    assert sent.site is not None
    assert sent.site.line == here + 3
    assert sent.site.function.endswith("create_to_close")


def test_wall_clock_and_monotonic_clock_are_joined() -> None:
    import time

    with sockfsm.tracing() as trace:
        before = time.time_ns()
        socket.socket().close()
        after = time.time_ns()
    call = next(trace.calls())
    assert before - 1_000_000 <= call.wall <= after + 1_000_000


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_only_what_really_blocked_is_a_wait(timeout: float | None) -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        b.settimeout(timeout)
        a.send(b"there")
        b.recv(5)
        reader = threading.Thread(target=b.recv, args=(5,))
        reader.start()
        while not any(w.method == "recv" for w in sockfsm.blocked()):
            pass
        (wait,) = trace.blocked()
        assert wait.end is None
        a.send(b"later")
        reader.join()
        a.close()
        b.close()
    assert [c.waited for c in trace.calls() if c.call == "recv"] == [False, True]
    (wait,) = trace.waits()
    assert wait.end is not None
    assert wait.end > wait.begin
    assert trace.blocked() == []
    assert sockfsm.blocked() == []


def test_a_blocking_send_sends_everything_and_is_a_wait() -> None:
    data = bytes(4_000_000)
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        got = bytearray()

        def read() -> None:
            while chunk := b.recv(1 << 16):
                got.extend(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        assert a.send(data) == len(data)
        a.sendall(array.array("i", range(500_000)))
        a.close()
        reader.join()
        b.close()
    assert len(got) == len(data) + 2_000_000
    send, sendall = [c for c in trace.calls() if c.call == "send"]
    assert send.waited
    assert send.done == send.asked == len(data)
    assert sendall.done == 2_000_000


def test_timeouts_and_would_block_are_no_refusals() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        a.setblocking(False)
        with pytest.raises(BlockingIOError, match="Resource temporarily unavailable"):
            a.recv(1)
        b.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            b.recv(1)
        a.close()
        b.close()
    first, second = [c for c in trace.calls() if c.call == "recv"]
    assert (first.outcome, first.waited, first.refused) == ("EAGAIN", False, False)
    assert (second.outcome, second.waited, second.refused) == ("timeout", True, False)


def test_logical_and_real_close_are_two_events() -> None:
    with sockfsm.tracing() as trace:
        client, data = tcp_pair()
        stream = data.makefile("rb")
        data.close()
        client.sendall(b"still read\n")
        assert stream.readline() == b"still read\n"
        stream.close()
        client.close()
    mine = [c for c in trace.calls() if c.socket and c.socket.made_by == "accepted"]
    closes = [(c.outcome, c.after) for c in mine if c.call == "close"]
    assert closes == [("deferred", "CONNECTED"), ("ok", "CLOSED")]


def test_dup_shares_the_kernel_socket_and_the_last_close_closes() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        twin = a.dup()
        third = socket.fromfd(a.fileno(), a.family, a.type)
        for sock in (a, twin, third, b):
            sock.close()
    first = [c for c in trace.calls() if c.socket and c.socket.number == 1]
    assert [c.method for c in first][:3] == ["socketpair", "dup", "fromfd"]
    assert [c.outcome for c in first if c.call == "close"] == ["deferred", "deferred", "ok"]
    assert len(trace.sockets) == 2


def test_detach_and_a_new_object_are_the_same_socket() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        again = socket.socket(fileno=a.detach())
        again.sendall(b"x")
        again.close()
        b.close()
    path = [(c.method, c.after) for c in trace.calls() if c.socket and c.socket.number == 1]
    assert path == [
        ("socketpair", "CONNECTED"),
        ("detach", "DETACHED"),
        ("adopt", "CONNECTED"),
        ("sendall", "CONNECTED"),
        ("close", "CLOSED"),
    ]


def test_identity_survives_descriptor_reuse() -> None:
    with sockfsm.tracing() as trace:
        descriptors = set()
        for _ in range(3):
            sock = socket.socket()
            descriptors.add(sock.fileno())
            sock.close()
    assert len(descriptors) == 1
    assert len(trace.sockets) == 3


def test_a_socket_from_before_is_adopted_in_its_state() -> None:
    client, data = tcp_pair()
    with socket.create_server(("127.0.0.1", 0)) as listening, sockfsm.tracing() as trace:
        client.send(b"x")
        listening.setblocking(False)
        assert sockfsm.state(listening) == "LISTENING"
        assert sockfsm.state(data) == "CONNECTED"
    client.close()
    data.close()
    assert [(c.method, c.after) for c in trace.calls() if c.call == "adopt"] == [
        ("adopt", "CONNECTED"),
        ("adopt", "LISTENING"),
        ("adopt", "CONNECTED"),
    ]


def test_garbage_collection_still_warns_and_is_logged() -> None:
    with sockfsm.tracing() as trace:
        sock = socket.socket()
        gone = weakref.ref(sock)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del sock
            gc.collect()
        assert [w.category for w in seen] == [ResourceWarning]
        seen.clear()  # the warning itself holds its source
        assert gone() is None
    assert outcomes(trace, "close") == [("collected", "ok", "CREATED", "CLOSED")]


def test_every_way_to_send_and_receive_counts(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"f" * 100)
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        buffer = bytearray(100)
        a.send(b"1")
        b.recv(1)
        a.sendall(b"22")
        b.recv_into(buffer, 2)
        a.sendmsg([b"33", b"3"])
        b.recvmsg(3)
        a.sendmsg([b"4444"])
        b.recvmsg_into([memoryview(buffer)[:4]])
        a.send(b"55555")
        b.recvfrom(5)
        a.send(b"666666")
        b.recvfrom_into(buffer, 6)
        with file.open("rb") as source:
            a.sendfile(source)
        assert b.recv(200, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"f" * 100
        with a.makefile("wb") as stream:
            stream.write(b"made\n")
        with b.makefile("rb") as stream:
            assert stream.readline() == b"made\n"
        a.close()
        b.close()
    moved = [(c.method, c.done) for c in trace.calls() if c.call in ("send", "recv")]
    assert moved == [
        ("send", 1),
        ("recv", 1),
        ("sendall", 2),
        ("recv_into", 2),
        ("sendmsg", 3),
        ("recvmsg", 3),
        ("sendmsg", 4),
        ("recvmsg_into", 4),
        ("send", 5),
        ("recvfrom", 5),
        ("send", 6),
        ("recvfrom_into", 6),
        ("sendfile", 100),
        ("recv", 100),
        ("send", 5),
        ("recv_into", 5),
    ]


def test_udp_addresses_and_connectionless_traffic() -> None:
    with sockfsm.tracing() as trace:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.sendto(b"ping", server.getsockname())
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
        assert client.recv(100) == b"ping"
        with pytest.raises(OSError, match="Destination address required"):
            server.send(b"nobody")
        name = server.getsockname()
        client.close()
        server.close()
    sendto = next(c for c in trace.calls() if c.method == "sendto")
    recvfrom = next(c for c in trace.calls() if c.method == "recvfrom")
    assert sendto.address == name
    assert sendto.done == 4
    assert recvfrom.address == peer
    refused = next(c for c in trace.calls() if c.refused)
    assert (refused.outcome, refused.predicted) == ("EDESTADDRREQ", "EDESTADDRREQ")


def test_a_stale_unix_path_is_removed_bound_and_unbound(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockfsm.tracing() as trace:
        with pytest.raises(FileNotFoundError):
            os.unlink(path)
        first = socket.socket(socket.AF_UNIX)
        first.bind(path)
        first.close()
        second = socket.socket(socket.AF_UNIX)
        with pytest.raises(OSError, match="Address already in use"):
            second.bind(path)
        os.remove(path)
        second.bind(path)
        second.close()
        os.unlink(path)
        (tmp_path / "plain").touch()
        os.unlink(tmp_path / "plain")
    unlinks = [(c.outcome, c.address, c.after) for c in trace.calls() if c.call == "unlink"]
    assert unlinks == [("ENOENT", path, ""), ("ok", path, "CLOSED"), ("ok", path, "CLOSED")]
    assert ("close", "ok", "BOUND", "CLOSED_PATH_LEFT") in outcomes(trace, "close")


def test_resolving_is_a_step_of_the_life() -> None:
    with sockfsm.tracing() as trace:
        family, kind, proto, _, _ = socket.getaddrinfo(
            "127.0.0.1", 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        sock = socket.socket(family, kind, proto)
        sock.close()
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("not a name", 80, flags=socket.AI_NUMERICHOST)
    resolved, created, _, failed = trace.calls()
    assert isinstance(resolved.address, tuple)
    assert (resolved.call, resolved.outcome, resolved.address[:2]) == (
        "resolve",
        "ok",
        ("127.0.0.1", "80"),
    )
    assert (created.before, created.after) == ("RESOLVED", "CREATED")
    assert failed.outcome == "gaierror"


def test_connect_ex_and_ipv6() -> None:
    with sockfsm.tracing() as trace, socket.create_server(("::1", 0), family=socket.AF_INET6) as s:
        client = socket.socket(socket.AF_INET6)
        assert client.connect_ex(s.getsockname()[:2]) == 0
        data, peer = s.accept()
        assert client.connect_ex(s.getsockname()) == errno.EISCONN
        mine = client.getsockname()
        client.close()
        data.close()
    assert [c.outcome for c in trace.calls() if c.call == "connect"] == ["ok", "EISCONN"]
    sockets = list(trace.sockets.values())
    assert sockets[1].local == mine
    assert sockets[2].remote == peer


def test_a_call_that_never_reached_the_kernel_is_told_apart() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        with pytest.raises(TypeError):
            a.send("text")  # type: ignore[arg-type]  # the mistake is what is tested
        with pytest.raises(ValueError, match="negative buffersize"):
            a.recv(-1)
        a.close()
        b.close()
    assert [c.outcome for c in trace.calls() if c.call in ("send", "recv")] == ["raised", "raised"]


def test_exceptions_have_no_context_of_ours() -> None:
    with sockfsm.tracing():
        a, b = socket.socketpair()
        b.settimeout(0.01)
        with pytest.raises(TimeoutError) as caught:
            b.recv(1)
        a.close()
        b.close()
        with pytest.raises(OSError, match="Bad file descriptor") as closed:
            a.recv(1)
    assert caught.value.__context__ is None
    assert closed.value.__context__ is None


def test_the_drop_in_socket_is_traced_without_tracing() -> None:
    with sockfsm.socket() as listening:
        assert isinstance(listening, socket.socket)
        assert listening.state == "CREATED"
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            data, _ = listening.accept()
        assert type(data) is sockfsm.socket
        assert data.state == "CONNECTED"
        data.close()
        assert [c.call for c in listening.history] == ["create", "bind", "listen", "accept"]
    assert listening.state == "CLOSED"
    sockfsm.uninstall()


def test_tracing_within_tracing_is_a_view() -> None:
    with sockfsm.tracing() as outer:
        socket.socket().close()
        with sockfsm.tracing(mode="enforce") as inner:
            sock = socket.socket()
            with pytest.raises(sockfsm.IllegalCall):
                sock.accept()
            sock.close()
        again = socket.socket()
        with pytest.raises(OSError, match="Invalid argument") as caught:
            again.accept()
        assert type(caught.value) is OSError
        again.close()
    assert len(inner.sockets) == 1
    assert len(outer.sockets) == 3
    with sockfsm.tracing(), pytest.raises(sockfsm.SockfsmError, match="already tracing"):
        sockfsm.install()


@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_where_a_refusal_leads_depends_on_the_blocking_mode(timeout: float | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        name = gone.getsockname()
    with sockfsm.tracing() as trace:
        client = socket.socket()
        client.settimeout(timeout)
        for _ in range(3):
            with pytest.raises(OSError, match=r"refused|progress|abort"):
                client.connect(name)
        client.close()
    refused = next(c for c in trace.calls() if c.outcome == "ECONNREFUSED")
    assert (refused.after == "CREATED") == (timeout != 5.0)
    assert all(call.explained for call in trace.calls())


def test_after_a_connect_with_a_timeout_a_second_one_is_taken_once() -> None:
    # The first returned when poll(2) said so: the kernel confirms the connection to the second.
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        sockfsm.tracing(mode="enforce") as trace,
    ):
        client = socket.socket()
        client.settimeout(500)
        client.connect(listening.getsockname())
        client.connect(listening.getsockname())
        with pytest.raises(sockfsm.IllegalCall):
            client.connect(listening.getsockname())
        client.close()
    assert [c.outcome for c in trace.calls() if c.call == "connect"] == ["ok", "ok", "EISCONN"]


@pytest.mark.parametrize("name", ["\0sockfsm-test", b"\0sockfsm-bytes", ""])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_abstract_name_needs_no_unlink(name: str | bytes, kind: int) -> None:
    with sockfsm.tracing() as trace:
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(name)
        sock.close()
    assert outcomes(trace, "bind", "close") == [
        ("bind", "ok", "CREATED", "BOUND_UNLINKED"),
        ("close", "ok", "BOUND_UNLINKED", "CLOSED"),
    ]
