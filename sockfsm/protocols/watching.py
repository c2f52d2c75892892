"""A protocol on a live socket: every byte that the program sends or receives on it is followed.

The socket object stays the same; its class becomes a subclass of what it was, with the same name, whose
sending and receiving methods tell the dialogue. Plain, traced and TLS sockets are taken alike: of the
last, what is said is seen in the clear.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from functools import cache
from time import monotonic_ns
from typing import Any
from weakref import WeakKeyDictionary

from sockfsm.errors import OutOfOrderError, UsageError
from sockfsm.protocols.dialogue import Dialogue
from sockfsm.protocols.protocol import CLIENT, SERVER, Protocol

_PEEK = socket.MSG_PEEK


class _Watch:
    """What is known of a watched socket. inside: the thread is in a method of it already.

    before: the socket's class.
    """

    def __init__(
        self, dialogue: Dialogue, role: str, enforce: bool, before: type[socket.socket]
    ) -> None:
        self.dialogue = dialogue
        self.before = before
        self.role, self.other = (role, SERVER if role == CLIENT else CLIENT)
        self.enforce = enforce
        self.lock = threading.Lock()
        self.inside = threading.local()

    def sends(self, data: bytes) -> None:
        """Raises OutOfOrderError in place of sending, where that is wanted."""
        if self.enforce and self.role == CLIENT:
            with self.lock:
                refused = self.dialogue.would_refuse(data)
            if refused is not None:
                raise OutOfOrderError(
                    f"{refused.request} is illegal in {refused.before}: {refused.why}"
                )

    def said(self, who: str, data: bytes) -> None:
        if data:
            with self.lock:
                self.dialogue.feed(who, data, monotonic_ns())


_watched: WeakKeyDictionary[socket.socket, _Watch] = WeakKeyDictionary()


def watch(sock: socket.socket, protocol: Protocol, role: str, *, enforce: bool = False) -> Dialogue:
    """Follow the dialogue on a connected stream socket from now on.

    role: CLIENT or SERVER, who this end is. enforce: a request that the machine refuses raises
    OutOfOrderError and is not sent. The dialogue goes on while the socket lives; `unwatch` ends it.
    UsageError for another role, a datagram socket, or one that is watched already.
    """
    if role not in (CLIENT, SERVER):
        raise UsageError(f"no role {role!r}: an end is {CLIENT!r} or {SERVER!r}")
    if sock.type != socket.SOCK_STREAM:
        raise UsageError("a protocol is followed on stream sockets, and this one has datagrams")
    if sock in _watched:
        raise UsageError("this socket's dialogue is followed already")
    dialogue = Dialogue(protocol)
    _watched[sock] = _Watch(dialogue, role, enforce, type(sock))
    known: Any = type(sock)  # for typeshed a class of sockets has no hash
    sock.__class__ = _watching(known)
    return dialogue


def unwatch(sock: socket.socket) -> Dialogue:
    """Follow it no longer: what has no reply yet becomes an exchange without one."""
    found = _watched.pop(sock, None)
    if found is None:
        raise UsageError("this socket's dialogue is not followed")
    sock.__class__ = found.before
    found.dialogue.end()
    return found.dialogue


@cache
def _watching(base: Any) -> Any:
    """A subclass of a socket class that tells of what it moves."""
    methods: dict[str, Any] = {"__slots__": (), "__module__": base.__module__}
    for name, sent in (("send", _first), ("sendall", _first), ("sendmsg", _joined)):
        methods[name] = _sending(base, name, sent)
    for name, received in (
        ("recv", lambda _, result: result),
        ("recvfrom", lambda _, result: result[0]),
        ("recvmsg", lambda _, result: result[0]),
        ("recv_into", lambda args, result: bytes(memoryview(args[0]).cast("B")[:result])),
        ("recvfrom_into", lambda args, result: bytes(memoryview(args[0]).cast("B")[: result[0]])),
    ):
        methods[name] = _receiving(base, name, received)
    return type(base.__name__, (base,), methods)


def _first(args: tuple[Any, ...]) -> bytes:
    return bytes(memoryview(args[0]).cast("B"))


def _joined(args: tuple[Any, ...]) -> bytes:
    buffers: Iterable[Any] = args[0]
    return b"".join(bytes(memoryview(each).cast("B")) for each in buffers)


def _sending(
    base: type[socket.socket], name: str, bytes_of: Callable[[tuple[Any, ...]], bytes]
) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: socket.socket, *args: Any) -> Any:
        watched = _watched.get(self)
        # TLS's own methods call one another: only the outermost one is the program's.
        if watched is None or getattr(watched.inside, "now", False) or not args:
            return original(self, *args)
        if name == "sendmsg":
            args = (list(args[0]), *args[1:])  # an iterator is good for one pass
        data = bytes_of(args)
        watched.sends(data)
        watched.inside.now = True
        try:
            done = original(self, *args)
        finally:
            watched.inside.now = False
        watched.said(watched.role, data if done is None else data[:done])
        return done

    method.__name__ = name
    return method


def _receiving(
    base: type[socket.socket], name: str, bytes_of: Callable[[tuple[Any, ...], Any], bytes]
) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: socket.socket, *args: Any, **named: Any) -> Any:
        watched = _watched.get(self)
        if watched is None or getattr(watched.inside, "now", False):
            return original(self, *args, **named)
        watched.inside.now = True
        try:
            result = original(self, *args, **named)
        finally:
            watched.inside.now = False
        flags = named.get("flags", args[_FLAGS[name]] if len(args) > _FLAGS[name] else 0)
        if not flags & _PEEK:
            watched.said(watched.other, bytes_of(args or (named.get("buffer"),), result))
        return result

    method.__name__ = name
    return method


_FLAGS = {"recv": 1, "recvfrom": 1, "recvmsg": 2, "recv_into": 2, "recvfrom_into": 2}
