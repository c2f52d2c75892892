"""One kernel socket, several objects and numbers: dup, detach, adoption, collection, overlaps."""

from __future__ import annotations

import _socket
import contextlib
import gc
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asleep import alarm, asleep

import sockfsm
from sockfsm.trace.trace import Trace
from sockfsm.tracer import current, sockets


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    yield a, b
    a.close()
    b.close()


def story(trace: Trace, *methods: str) -> list[tuple[str, str, str, str]]:
    """(method, outcome, before, after) of the calls, all of them where no methods are named."""
    return [
        (c.method, c.outcome, c.before, c.after)
        for c in trace.calls()
        if not methods or c.method in methods
    ]


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_closing_one_object_twice_leaves_its_twin_alone(mode: str) -> None:
    with sockfsm.tracing(mode=mode) as trace:
        a, b = socket.socketpair()
        d = a.dup()
        a.close()
        a.close()
        d.send(b"x")
        assert b.recv(5) == b"x"
        d.close()
        assert b.recv(5) == b""
        b.close()
    assert story(trace, "close", "send")[:4] == [
        ("close", "deferred", "CONNECTED", "CONNECTED"),
        ("close", "ok", "CLOSED", "CLOSED"),
        ("send", "ok", "CONNECTED", "CONNECTED"),
        ("close", "ok", "CONNECTED", "CLOSED"),
    ]


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_collecting_a_closed_twin_leaves_the_living_one_alone(mode: str) -> None:
    with sockfsm.tracing(mode=mode) as trace:
        a, b = socket.socketpair()
        d = a.dup()
        a.close()
        del a
        gc.collect()
        d.send(b"x")
        d.close()
        b.close()
    assert ("send", "ok", "CONNECTED", "CONNECTED") in story(trace)
    assert "collected" not in {c.method for c in trace.calls()}


def test_a_twin_has_a_timeout_of_its_own() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        d = a.dup()
        d.settimeout(0.01)
        with pytest.raises(TimeoutError):
            d.recv(5)
        b.send(b"x")
        assert a.recv(5) == b"x"  # had the twin's timeout been taken for this one's, by poll(2)
        assert current.session.records[id(a)].mode == "blocking"
        for sock in (a, b, d):
            sock.close()
    assert [c.outcome for c in trace.calls() if c.method == "recv"] == ["timeout", "ok"]


def test_a_detached_number_that_came_to_another_socket_is_another_socket() -> None:
    with sockfsm.tracing(mode="enforce") as trace:
        a, b = socket.socketpair()
        number = a.detach()
        os.close(number)
        other, peer = socket.socketpair()  # takes the number
        assert other.fileno() == number
        again = socket.socket(fileno=os.dup(number))
        again.send(b"x")
        for sock in (b, other, peer, again):
            sock.close()
    sent = next(c for c in trace.calls() if c.method == "send")
    assert sent.socket is not None
    assert sent.socket.number == next(
        c.socket.number
        for c in trace.calls()
        if c.socket and c.socket.descriptor == number and c.socket.number > 2
    )


def test_a_socket_that_was_detached_goes_on_in_its_new_object() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        c = socket.socket(fileno=a.detach())
        del a
        gc.collect()
        c.send(b"x")
        c.close()
        b.close()
    assert story(trace, "detach", "adopt", "collected", "send") == [
        ("detach", "ok", "CONNECTED", "DETACHED"),
        ("adopt", "ok", "DETACHED", "CONNECTED"),
        ("send", "ok", "CONNECTED", "CONNECTED"),
    ]


def test_a_descriptor_beside_python_finds_its_model() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        a.shutdown(socket.SHUT_WR)
        d = socket.socket(fileno=os.dup(a.fileno()))
        assert sockfsm.state(d) == "WRITE_SHUT"
        a.close()
        assert sockfsm.state(d) == "WRITE_SHUT"
        d.close()
        b.close()
    assert [c.after for c in trace.calls() if c.method == "close"][:2] == ["WRITE_SHUT", "CLOSED"]


def test_adopting_asks_nothing_of_the_other_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question at most to each socket in its life, however many are adopted."""
    asked = 0
    plain = sockets._getsockopt

    def counting(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return plain(*arguments)

    with sockfsm.tracing():
        idle = [sock for _ in range(200) for sock in socket.socketpair()]
        context = ssl.create_default_context()
        monkeypatch.setattr(sockets, "_getsockopt", counting)
        a, b = socket.socketpair()
        client = context.wrap_socket(a, server_hostname="x", do_handshake_on_connect=False)
        c = socket.socket(fileno=b.detach())
        assert asked < 20
        d = socket.socket(fileno=os.dup(c.fileno()))
        first, asked = asked, 0
        e = socket.socket(fileno=os.dup(c.fileno()))
        assert first < 2 * len(idle)
        assert asked < 10
        assert current.session.records[id(c)].model is current.session.records[id(d)].model
        assert current.session.records[id(e)].model is current.session.records[id(d)].model
        for sock in (*idle, client, c, d, e):
            sock.close()


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_tables_may_change_under_every_step() -> None:
    """Collection at every allocation closes sockets while others are made, wrapped and detached."""
    context = ssl.create_default_context()
    thresholds = gc.get_threshold()
    with sockfsm.tracing() as trace:
        gc.set_threshold(1)
        try:
            for _ in range(150):
                a, b = socket.socketpair()
                cycle: list[Any] = [a.dup(), b.dup()]
                cycle.append(cycle)
                del cycle
                tls = context.wrap_socket(a, server_hostname="x", do_handshake_on_connect=False)
                c = socket.socket(fileno=b.detach())
                tls.close()
                c.close()
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
    assert all(call.explained for call in trace.calls())
    assert not current.session.records


def test_closing_under_a_blocked_call_ends_the_socket_with_that_call() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        reader = threading.Thread(target=a.recv, args=(5,))
        reader.start()
        asleep(reader)
        a.close()
        b.send(b"x")
        reader.join()
        b.close()
    assert story(trace, "recv", "close", "released")[:3] == [
        ("close", "deferred", "CONNECTED", "CONNECTED"),
        ("recv", "ok", "CONNECTED", "CONNECTED"),
        ("released", "ok", "CONNECTED", "CLOSED"),
    ]
    assert all(call.explained for call in trace.calls())


def test_a_call_that_overlaps_a_shutdown_is_judged_where_it_began() -> None:
    with sockfsm.tracing() as trace:
        a, b = socket.socketpair()
        reader = threading.Thread(target=a.recv, args=(5,))
        reader.start()
        asleep(reader)
        a.shutdown(socket.SHUT_RDWR)
        reader.join()
        a.close()
        b.close()
    assert all(call.explained for call in trace.calls())


def test_a_blocking_send_that_a_signal_cuts_short_tells_of_its_part() -> None:
    """After a part went out at the first try, too: Python would begin the rest again and again."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with sockfsm.tracing() as trace:
            a, b = socket.socketpair()
            alarm()
            sent = a.send(bytes(10_000_000))
            assert 0 < sent < 10_000_000
            a.close()
            b.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    call = next(c for c in trace.calls() if c.method == "send")
    assert (call.outcome, call.done, call.waited) == ("ok", sent, True)


def test_a_twin_minds_so_rcvlowat_as_well() -> None:
    with sockfsm.tracing():
        a, b = socket.socketpair()
        twin = a.dup()
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
        assert current.session.records[id(a)].first_try < 0
        for sock in (a, b, twin):
            sock.close()


def test_two_shutdowns_at_once_explain_each_other() -> None:
    with sockfsm.tracing() as trace:
        for _ in range(60):
            sock = socket.create_server(("127.0.0.1", 0))
            start = threading.Barrier(2)

            def shut(sock: socket.socket = sock, start: threading.Barrier = start) -> None:
                start.wait()
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

            threads = [threading.Thread(target=shut) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sock.close()
    assert [c for c in trace.calls() if not c.explained] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_a_handler_raises_is_never_lost_where_a_socket_goes() -> None:
    """Nothing of Python's runs where the last reference to a socket is let go."""
    count = caught = 0

    def handler(*_: object) -> None:
        nonlocal count
        count += 1
        raise ValueError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with sockfsm.tracing():
            while count < 300:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005)
                    seen = count
                    while True:
                        sock: Any = socket.socket(socket.AF_UNIX)
                        _socket.socket.close(sock)
                        sock = None
                        assert count == seen, "an exception was lost"
                except ValueError:
                    caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    sock = None  # its warning belongs to this test
    gc.collect()
    assert caught == count


def test_blocks_in_several_threads_share_one_trace() -> None:
    problems: list[BaseException] = []
    seen: list[int] = []

    def work() -> None:
        try:
            for _ in range(20):
                with sockfsm.tracing() as trace:
                    a, b = socket.socketpair()
                    a.send(b"x")
                    a.close()
                    b.close()
                me = threading.get_native_id()
                seen.append(sum(c.method == "send" and c.thread.ident == me for c in trace.calls()))
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    before = socket.socket.__dict__.get("send")
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert seen == [1] * 80
    assert socket.socket.__dict__.get("send") is before
