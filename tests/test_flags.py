"""Every flag of a transfer, on every kind: what comes of it is explained, and waits are told."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

import pytest

import sockfsm

KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}
FLAGS = {
    name: int(getattr(socket, f"MSG_{name}"))
    for name in (
        *("OOB", "PEEK", "WAITALL", "DONTWAIT", "TRUNC", "CTRUNC", "ERRQUEUE", "NOSIGNAL", "MORE"),
        *("CONFIRM", "EOR", "DONTROUTE", "CMSG_CLOEXEC"),
    )
}


def ending(peer: socket.socket) -> None:
    """Urgent data, and the end."""
    peer.send(b"u", socket.MSG_OOB)
    peer.close()


STAGES: dict[str, Callable[[socket.socket, socket.socket], object]] = {
    "nothing": lambda ours, peer: None,
    "data": lambda ours, peer: peer.send(b"abc"),
    "urgent": lambda ours, peer: peer.send(b"u", socket.MSG_OOB),
    "both": lambda ours, peer: (peer.send(b"abc"), peer.send(b"u", socket.MSG_OOB)),
    "inline": lambda ours, peer: (
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1),
        peer.send(b"u", socket.MSG_OOB),
    ),
    "end": lambda ours, peer: peer.close(),
    "urgent end": lambda ours, peer: ending(peer),
    "shut": lambda ours, peer: ours.shutdown(socket.SHUT_RD),
    "muted": lambda ours, peer: ours.shutdown(socket.SHUT_WR),
}
CALLS: dict[str, Callable[[socket.socket, int], object]] = {
    "recv": lambda sock, flags: sock.recv(2, flags),
    "recv_into": lambda sock, flags: sock.recv_into(bytearray(2), 0, flags),
    "recvfrom": lambda sock, flags: sock.recvfrom(2, flags),
    "recvmsg": lambda sock, flags: sock.recvmsg(2, 100, flags),
    "send": lambda sock, flags: sock.send(b"x", flags),
    "sendall": lambda sock, flags: sock.sendall(b"x", flags),
    "sendmsg": lambda sock, flags: sock.sendmsg([b"x"], [], flags),
}


def connected(kind: str) -> tuple[socket.socket, socket.socket]:
    family, type_ = KINDS[kind]
    if family == socket.AF_UNIX:
        return socket.socketpair(family, type_)
    if type_ == socket.SOCK_STREAM:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            return socket.create_connection(listening.getsockname()), listening.accept()[0]
    ours, peer = (socket.socket(family, type_) for _ in range(2))
    for sock in (ours, peer):
        sock.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    peer.connect(ours.getsockname())
    return ours, peer


@pytest.mark.parametrize("timeout", [None, 0, 0.004])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_comes_of_a_flag_is_explained(kind: str, timeout: float | None) -> None:
    with sockfsm.tracing() as trace:
        for prepare in STAGES.values():
            for flags in FLAGS.values():
                for call in CALLS.values():
                    ours, peer = connected(kind)
                    with contextlib.suppress(OSError):
                        prepare(ours, peer)
                    if timeout is None:
                        brief = struct.pack("ll", 0, 4000)
                        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, brief)
                    ours.settimeout(timeout)
                    with contextlib.suppress(OSError):
                        call(ours, flags)
                    ours.close()
                    peer.close()
    told = {(c.method, c.before, c.outcome) for c in trace.calls() if not c.explained}
    assert told == set()


@pytest.mark.parametrize(
    ("kind", "flag", "timeout", "waits"),
    [
        ("tcp", "OOB", None, False),
        ("tcp", "ERRQUEUE", None, False),
        ("udp", "ERRQUEUE", None, False),
        ("unix-stream", "OOB", None, False),
        ("unix-dgram", "OOB", None, False),
        ("tcp", "DONTWAIT", None, False),
        ("udp", "OOB", None, True),
        ("unix-stream", "ERRQUEUE", None, True),
        ("tcp", "PEEK", None, True),
        ("tcp", "DONTWAIT", 0.01, True),  # Python waits before it asks the kernel
        ("tcp", "OOB", 0.01, True),
        ("tcp", "OOB", 0, False),
    ],
)
def test_what_waits_is_told_from_what_does_not(
    kind: str, flag: str, timeout: float | None, waits: bool
) -> None:
    with sockfsm.tracing() as trace:
        ours, peer = connected(kind)
        brief = struct.pack("ll", 0, 10_000)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, brief)
        ours.settimeout(timeout)
        with contextlib.suppress(OSError):
            ours.recv(5, FLAGS[flag])
        ours.close()
        peer.close()
    (call,) = (c for c in trace.calls() if c.method == "recv")
    assert call.waited == waits


@pytest.mark.parametrize("method", ["recv", "recv_into", "recvfrom", "recvmsg"])
def test_a_call_that_waits_for_all_waited(method: str) -> None:
    with sockfsm.tracing() as trace:
        ours, peer = connected("tcp")
        brief = struct.pack("ll", 0, 10_000)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, brief)
        peer.send(b"a")
        CALLS[method](ours, socket.MSG_WAITALL)
        ours.close()
        peer.close()
    (call,) = (c for c in trace.calls() if c.method == method)
    assert (call.done, call.waited) == (1, True)
