"""Sockets of every kind, in every state that a program can bring them to."""

from __future__ import annotations

import _socket
import contextlib
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import values

KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}
MODES = {"blocking": None, "timeout": 0.001, "nonblocking": 0.0}
STATES = ("connected", "fresh", "bound", "listening", "shut", "eof", "reset", "closed", "detached")
_STREAMS_ONLY = ("listening", "reset")
DATA = b"twenty octets inside"
_PATIENCE = struct.pack("ll", 0, 1)  # the kernel's own timeout: a blocking call ends as well
_numbers = itertools.count()


def states(kind: str) -> tuple[str, ...]:
    """The states that sockets of a kind have."""
    stream = KINDS[kind][1] == socket.SOCK_STREAM
    return tuple(state for state in STATES if stream or state not in _STREAMS_ONLY)


class Override(socket.socket):
    """A subclass that overrides what it can and tells who calls it."""

    def __getattribute__(self, name: str) -> Any:
        values.calls.append(f".{name}")
        return super().__getattribute__(name)

    def __len__(self) -> int:
        values.calls.append("socket.__len__")
        return 0

    def __eq__(self, other: object) -> bool:
        values.calls.append("socket.__eq__")
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values.calls.append("socket.__repr__")
        raise RuntimeError("not shown")


class Logged(socket.socket):
    """A subclass that passes on what it overrides."""

    __slots__ = ("extra",)


def _logged(name: str) -> Callable[..., Any]:
    original = getattr(socket.socket, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        values.calls.append(f"Logged.{name}")
        return getattr(super(Logged, self), name)(*args, **kwargs)

    call.__name__ = original.__name__
    return call


for _name in [
    "send",
    "sendall",
    "sendto",
    "sendmsg",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "accept",
    "_accept",
    "bind",
    "connect",
    "connect_ex",
    "listen",
    "shutdown",
    "close",
    "_real_close",
    "_decref_socketios",
    "detach",
    "dup",
    "fileno",
    "gettimeout",
    "settimeout",
    "setblocking",
    "getsockopt",
    "getsockname",
    "getpeername",
    "makefile",
]:
    setattr(Logged, _name, _logged(_name))

CLASSES = {"socket": socket.socket, "Logged": Logged, "Override": Override}


class Scene:
    """One socket in a state, its surroundings, and what can be seen of both after a call."""

    def __init__(self, kind: str, mode: str, folder: str, cls: type[socket.socket]) -> None:
        self.family, self.type = KINDS[kind]
        self.kind, self.mode, self.folder, self.cls = kind, MODES[mode], folder, cls
        self.server = socket.socket(self.family, self.type)
        self.server.bind(self.path() if "unix" in kind else ("127.0.0.1", 0))
        if self.type == socket.SOCK_STREAM:
            self.server.listen(100)
        self.address = self.server.getsockname()
        self.port = self.address[1] if kind in ("tcp", "udp") else self.listener()
        self.file = open(os.path.join(folder, "file"), "w+b")  # noqa: SIM115 - lives as long as we
        self.file.write(b"a file's content")
        self.file.flush()

    def listener(self) -> int:
        """A port for those addresses that are of another family."""
        self.other = socket.create_server(("127.0.0.1", 0))
        return int(self.other.getsockname()[1])

    def path(self) -> str:
        """A name nobody has."""
        return f"{self.folder}/{next(_numbers)}"

    def make(self) -> socket.socket:
        """The socket itself, which never waits for long."""
        sock = self.cls(self.family, self.type)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        return sock

    @contextlib.contextmanager
    def set(self, state: str) -> Iterator[tuple[socket.socket, socket.socket | None]]:
        """(socket, its peer)."""
        sock, peer = self.make(), None
        if state == "bound":
            sock.bind(self.path() if "unix" in self.kind else ("127.0.0.1", 0))
        elif state == "listening":
            sock.bind(self.path() if "unix" in self.kind else ("127.0.0.1", 0))
            sock.listen(5)
            peer = socket.socket(self.family, self.type)
            peer.connect(sock.getsockname())
        elif state != "fresh":
            peer = self.connect(sock)
        self.end(sock, peer, state)
        if state != "detached" and state != "closed":
            sock.settimeout(self.mode)
        try:
            yield sock, peer
        finally:
            for each in (sock, peer):
                if each is not None:
                    with contextlib.suppress(OSError):
                        each.close()

    def connect(self, sock: socket.socket) -> socket.socket:
        """Connect it, with data to read."""
        if self.type == socket.SOCK_STREAM:
            sock.connect(self.address)
            peer, _ = self.server.accept()
            peer.sendall(DATA)
        else:
            peer = socket.socket(self.family, self.type)
            name = self.path() if "unix" in self.kind else ("127.0.0.1", 0)
            peer.bind(name)
            if "unix" in self.kind:
                sock.bind(self.path())
            sock.connect(peer.getsockname())
            peer.sendto(DATA, sock.getsockname())
        return peer

    def end(self, sock: socket.socket, peer: socket.socket | None, state: str) -> None:
        """The last step towards those states that are an end."""
        if state == "shut":
            sock.shutdown(socket.SHUT_RDWR)
        elif state == "eof" and peer is not None:
            peer.close()
        elif state == "reset" and peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        elif state == "closed":
            sock.close()
        elif state == "detached":
            os.close(sock.detach())

    def left(self, sock: socket.socket, peer: socket.socket | None) -> str:
        """What is to be read on both sides, asked by C methods that nobody replaced."""
        found = [
            f"fd={_socket.socket.fileno(sock)}",
            f"closed={object.__getattribute__(sock, '_closed')}",
        ]
        with contextlib.suppress(OSError):
            found.append(f"timeout={_socket.socket.gettimeout(sock)}")
        for each in (sock, peer):
            if each is None or _socket.socket.fileno(each) < 0:
                continue
            _socket.socket.settimeout(each, 0)
            try:
                found.append(repr(_socket.socket.recv(each, 1 << 16, socket.MSG_DONTWAIT)))
            except OSError as error:
                found.append(str(error.errno))
        if self.type == socket.SOCK_STREAM:
            # Who was connected by the case waits in the queue of the next.
            self.server.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.server.accept()[0].close()
                    found.append("came")
            self.server.settimeout(None)
        return " ".join(found)
