"""A call waited when the kernel made it sleep, and only then."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asleep import alarm, asleep

import sockfsm
from sockfsm.events import Call
from sockfsm.tracer import current


def refused(call: Callable[..., object], *arguments: Any) -> None:
    with pytest.raises(OSError, match=r"\[Errno"):
        call(*arguments)


def named(trace: sockfsm.Trace, method: str) -> Call:
    return next(call for call in trace.calls() if call.method == method)


@pytest.mark.parametrize(
    ("kind", "listens", "method", "arguments"),
    [
        (socket.SOCK_DGRAM, False, "accept", ()),
        (socket.SOCK_STREAM, False, "accept", ()),
        (socket.SOCK_STREAM, True, "recvfrom", (10,)),
        (socket.SOCK_STREAM, True, "recvmsg", (10,)),
        (socket.SOCK_STREAM, True, "recv", (10, socket.MSG_WAITALL)),
        (socket.SOCK_STREAM, True, "sendmsg", ([b"x"],)),
        (socket.SOCK_STREAM, True, "connect", (("127.0.0.1", 1),)),
    ],
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_what_is_refused_at_once_has_not_waited(
    family: int, kind: int, listens: bool, method: str, arguments: tuple[Any, ...]
) -> None:
    if family == socket.AF_UNIX and method == "connect":
        arguments = ("/nowhere/at/all",)
    with sockfsm.tracing() as trace:
        sock = socket.socket(family, kind)
        if listens:
            sock.bind("" if family == socket.AF_UNIX else ("127.0.0.1", 0))
            sock.listen()
        refused(getattr(sock, method), *arguments)
        sock.close()
    assert not named(trace, method).waited


def test_a_timeout_has_waited_though_poll_said_that_it_was_ready() -> None:
    """Of a datagram socket whose reading side is shut poll(2) says so, and recv(2) gives EAGAIN."""
    with sockfsm.tracing() as trace:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        refused(sock.shutdown, socket.SHUT_RD)
        sock.settimeout(0.02)
        with pytest.raises(TimeoutError):
            sock.recvfrom(10)
        sock.close()
    call = named(trace, "recvfrom")
    assert (call.outcome, call.waited) == ("timeout", True)


def test_a_send_that_is_longer_than_the_buffer_has_waited() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        a.settimeout(500)
        sender = threading.current_thread()

        def read() -> None:
            asleep(sender)
            b.recv(1 << 22, socket.MSG_WAITALL)

        reader = threading.Thread(target=read)
        reader.start()
        a.sendall(bytes(1 << 22))
        reader.join()
        a.close()
        b.close()
    assert named(trace, "sendall").waited


def test_an_empty_answer_of_a_descriptor_that_others_made_nonblocking_is_no_wait() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        flags = fcntl.fcntl(a, fcntl.F_GETFL)
        fcntl.fcntl(a, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        refused(a.recv, 10)
        a.close()
        b.close()
    call = named(trace, "recv")
    assert (call.outcome, call.waited) == ("EAGAIN", False)


def test_the_kernels_own_timeout_is_a_wait() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
        refused(a.recv, 10)
        a.close()
        b.close()
    call = named(trace, "recv")
    assert (call.outcome, call.waited) == ("EAGAIN", True)


def test_a_handlers_timeout_error_is_not_pythons() -> None:
    def handler(*_: object) -> None:
        raise TimeoutError("enough")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with sockfsm.tracing() as trace:
            a, b = socket.socketpair()
            alarm()
            with pytest.raises(TimeoutError, match="enough"):
                a.recv(10)
            a.close()
            b.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    call = named(trace, "recv")
    assert (call.outcome, call.waited) == ("raised", True)


def test_a_wait_goes_on_after_a_handlers_own_wait() -> None:
    """A signal handler that blocks in a call of its own must not end the wait that it interrupted."""
    seen: list[list[str]] = []
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        c, d = socket.socketpair()

        def handler(*_: object) -> None:
            threading.Thread(target=d.send, args=(b"x",)).start()
            c.recv(10)
            seen.append([wait.method for wait in sockfsm.blocked()])
            threading.Thread(target=b.send, args=(b"x",)).start()

        before = signal.signal(signal.SIGALRM, handler)
        try:
            alarm()
            assert a.recvfrom(10)[0] == b"x"
        finally:
            signal.signal(signal.SIGALRM, before)
        assert current.session.waiting == {}
        for sock in (a, b, c, d):
            sock.close()
    assert seen == [["recvfrom"]]
    assert named(trace, "recvfrom").waited


def test_a_blocking_call_takes_no_less_than_so_rcvlowat() -> None:
    """Trying without waiting would take what there is."""
    with sockfsm.tracing():
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
            client = socket.create_connection(server.getsockname())
            data, _ = server.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
        for end, other in ((data, client), (client, data)):
            other.sendall(b"12345")
            # This much at once, or the kernel goes on sleeping: it has taken the first five already.
            late = threading.Timer(0.05, other.sendall, (b"6789012345",))
            late.start()
            assert end.recv(100) == b"123456789012345"
            late.join()
        client.close()
        data.close()


def test_the_errnos_of_datagram_sockets_have_the_manuals_names() -> None:
    for family in (socket.AF_INET, socket.AF_UNIX):
        with sockfsm.tracing() as trace:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            refused(sock.listen)
            refused(sock.accept)
            sock.close()
        calls = [call for call in trace.calls() if call.refused]
        assert [call.outcome for call in calls] == ["EOPNOTSUPP"] * 2
        assert all(call.explained and call.errno == errno.EOPNOTSUPP for call in calls)


def test_a_connection_has_waited_where_nothing_was_there_yet() -> None:
    with sockfsm.tracing() as trace:
        a, b = multiprocessing.Pipe()
        a.send_bytes(b"early")
        assert b.recv_bytes() == b"early"
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.append(b.recv_bytes()))
        reader.start()
        asleep(reader)
        a.send_bytes(b"late")
        reader.join()
        a.close()
        b.close()
    assert heard == [b"late"]
    calls = [call for call in trace.calls() if call.method.startswith("Connection.")]
    assert not any(call.waited for call in calls if call.method == "Connection.send")
    received = [call.waited for call in calls if call.method == "Connection.recv"]
    # A message is two reads, its length and itself: the second may find its bytes there.
    assert received[:3] == [False, False, True]


@pytest.mark.parametrize("full", [False, True])
def test_sendfile_waited_where_there_was_no_room(tmp_path: Path, full: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with sockfsm.tracing() as trace:
        near, far = socket.socketpair()
        sender = threading.current_thread()

        def empty() -> None:
            asleep(sender)
            while far.recv(1 << 20, socket.MSG_DONTWAIT):
                if not select.select([far], [], [], 0)[0]:
                    return

        reader = threading.Thread(target=empty)
        with near, far, source.open("rb") as file:
            if full:
                near.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        near.send(bytes(1 << 16))
                near.setblocking(True)
                reader.start()
            assert near.sendfile(file) == 1
            if full:
                reader.join()
    assert named(trace, "sendfile").waited == full
