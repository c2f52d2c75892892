"""Two threads' calls on one socket at the same time: the kernel does them in one order or the other.

Nobody outside the kernel sees which. Both stay possible, and what happened is among them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

import sockfsm
from sockfsm.tracer import calls as calls_module
from sockfsm.tracer import current
from sockfsm.tracer.witness import fits


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
        assert fits(sock, current.session.records[id(sock)].row)
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
        assert current.session.records[id(sock)].row.states == "CREATED"
        sock.close()
