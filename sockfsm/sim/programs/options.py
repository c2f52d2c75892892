"""Socket options, and what is asked of a socket without a call of its machine."""

from __future__ import annotations

import os
import socket as real
import struct
from errno import EINVAL, ENOPROTOOPT
from typing import Any

from sockfsm import tcp_names
from sockfsm.sim.sockets import VirtualSocket
from sockfsm.sim.stack import Stack

_DEFAULTS = {
    ("tcp", "SO_RCVBUF"): 131_072, ("tcp", "SO_SNDBUF"): 16_384,
    ("udp", "SO_RCVBUF"): 212_992, ("udp", "SO_SNDBUF"): 212_992,
    ("unix-stream", "SO_RCVBUF"): 212_992, ("unix-stream", "SO_SNDBUF"): 212_992,
    ("unix-dgram", "SO_RCVBUF"): 212_992, ("unix-dgram", "SO_SNDBUF"): 212_992,
}  # fmt: skip
_SOCKET = int(real.SOL_SOCKET)
_NAMES = {
    int(getattr(real, name)): name
    for name in (
        "SO_REUSEADDR", "SO_REUSEPORT", "SO_KEEPALIVE", "SO_BROADCAST", "SO_OOBINLINE", "SO_RCVBUF",
        "SO_SNDBUF", "SO_LINGER", "SO_PRIORITY", "SO_DONTROUTE",
    )
    if hasattr(real, name)
}  # fmt: skip
_SWITCHES = frozenset(
    {"SO_REUSEADDR", "SO_REUSEPORT", "SO_KEEPALIVE", "SO_BROADCAST", "SO_OOBINLINE"}
)
_NODELAY = (int(real.IPPROTO_TCP), int(real.TCP_NODELAY))
_KEEPALIVE = (
    (_SOCKET, int(real.SO_KEEPALIVE)),
    (int(real.IPPROTO_TCP), int(real.TCP_KEEPIDLE)),
)
_LINGER = struct.Struct("ii")
_FACTS = {3: "SO_TYPE", 30: "SO_ACCEPTCONN", 38: "SO_PROTOCOL", 39: "SO_DOMAIN"}

Settings = dict[tuple[int, int], bytes]


def _number(value: Any) -> int:
    if isinstance(value, int):
        return value
    raw = bytes(value)
    if len(raw) < 4:
        raise OSError(EINVAL, os.strerror(EINVAL))
    return int(struct.unpack_from("i", raw)[0])


def settings(sock: VirtualSocket) -> Settings:
    """What was set on a socket."""
    made: Settings = sock.__dict__.setdefault("settings", {})
    return made


def put(stack: Stack, sock: VirtualSocket, level: int, name: int, value: Any) -> None:
    """setsockopt()."""
    kept = struct.pack("i", value) if isinstance(value, int) else bytes(value or b"")
    if level == _SOCKET and name not in _NAMES:
        raise OSError(ENOPROTOOPT, os.strerror(ENOPROTOOPT))
    word = _NAMES[name] if level == _SOCKET else ""
    if word == "SO_LINGER":
        if len(kept) < _LINGER.size:
            raise OSError(EINVAL, os.strerror(EINVAL))
        on, seconds = _LINGER.unpack_from(kept)
        sock.linger = seconds if on else None
    elif word == "SO_REUSEADDR":
        sock.reuse = bool(_number(value))
    elif (level, name) == _NODELAY:
        sock.nodelay = bool(_number(value))
    elif word in ("SO_RCVBUF", "SO_SNDBUF"):
        number = max(_number(value), 1)
        kept = struct.pack("i", 2 * number)  # the kernel takes as much again for itself
        setattr(sock, "rcvbuf" if word == "SO_RCVBUF" else "sndbuf", number)
    if word in _SWITCHES:
        kept = struct.pack("i", int(bool(_number(value))))
    known = settings(sock)
    known[level, name] = kept
    if (level, name) in _KEEPALIVE:
        on = any(known.get(_KEEPALIVE[0], b""))
        idle = known.get(_KEEPALIVE[1], bytes(4))
        sock.keepalive = struct.unpack_from("i", idle)[0] if on else None
    stack.adjust(sock)


def get(sock: VirtualSocket, level: int, name: int, length: int) -> Any:
    """getsockopt()."""
    kept = settings(sock).get((level, name))
    if kept is None:
        kept = _default(sock, level, name)
    return kept[:length] if length else struct.unpack_from("i", kept)[0]


def _default(sock: VirtualSocket, level: int, name: int) -> bytes:
    if level != _SOCKET:
        return struct.pack("i", 0)
    fact = _FACTS.get(name)
    if fact is not None:
        facts = {
            "SO_TYPE": sock.event.type, "SO_ACCEPTCONN": int(sock.listening),
            "SO_PROTOCOL": sock.event.proto, "SO_DOMAIN": sock.event.family,
        }  # fmt: skip
        return struct.pack("i", facts[fact])
    if name not in _NAMES:
        raise OSError(ENOPROTOOPT, os.strerror(ENOPROTOOPT))
    if _NAMES[name] == "SO_LINGER":
        return _LINGER.pack(0, 0)
    return struct.pack("i", _DEFAULTS.get((sock.kind, _NAMES[name]), 0))


def connected(sock: VirtualSocket) -> bool:
    """Whether getpeername() has an answer."""
    if sock.kind == "tcp":
        states = (tcp_names.CLOSED, tcp_names.SYN_SENT, tcp_names.TIME_WAIT)
        return sock.tcb is not None and sock.tcb.state not in states
    if sock.kind == "unix-stream":
        return sock.end is not None
    return sock.target is not None or sock.peer is not None
