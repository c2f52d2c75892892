"""What may surround a socket of any kind: a peer that closes or resets, a taken name, a timeout."""

from __future__ import annotations

import socket
import struct
from functools import partial
from pathlib import Path

from sockfsm.conform.bench import LINGER_ZERO, Address, Bench, UnixBench, outcome_of

DEADLINE = struct.pack("ll", 0, 1_000)
"""One millisecond, which the kernel rounds up to a tick, so that even blocking calls end."""


def reset(end: socket.socket) -> None:
    """Close with RST, which leaves no TIME_WAIT. A UNIX socket knows only the ordinary close."""
    if end.fileno() >= 0 and end.family != socket.AF_UNIX and end.type == socket.SOCK_STREAM:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    end.close()


class Accepting(Bench):
    """The peer accepts each connection at once, and treats it in some way."""

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self.ends: list[socket.socket] = []

    def treat(self, end: socket.socket) -> None:
        """What the peer does with a new connection."""
        self.ends.append(end)

    def after(self, sock: socket.socket, call: str) -> None:
        if call != "connect" or self.peer is None:
            return
        while True:
            try:
                end, _ = self.peer.accept()
            except OSError:
                return
            self.treat(end)

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        for end in self.ends:
            reset(end)
        self.ends.clear()


class Closes(Accepting):
    """The peer closes each connection at once."""

    def treat(self, end: socket.socket) -> None:
        end.close()


class ShutsWriting(Accepting):
    """The peer shuts its writing side at once, and stays open."""

    def treat(self, end: socket.socket) -> None:
        end.shutdown(socket.SHUT_WR)
        super().treat(end)


class Resets(Accepting):
    """The peer resets each connection at once."""

    def treat(self, end: socket.socket) -> None:
        reset(end)


class Breaks(Accepting):
    """The peer ends each connection and then resets it."""

    def treat(self, end: socket.socket) -> None:
        end.shutdown(socket.SHUT_WR)
        reset(end)


class Sends(Accepting):
    """Data is waiting before each recv()."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "recv":
            for end in self.ends:
                outcome_of(partial(end.send, b"d", socket.MSG_DONTWAIT))


class Queue(Bench):
    """A client is waiting before each accept() of a listening socket."""

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self.clients: list[socket.socket] = []

    def before(self, sock: socket.socket, call: str) -> None:
        if call != "accept" or sock.fileno() < 0:
            return
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return
        client = self.make()
        outcome_of(lambda: client.connect(sock.getsockname()))
        self.clients.append(client)

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        for client in self.clients:
            client.close()
        self.clients.clear()


class Blocking(Bench):
    """The socket blocks; SO_RCVTIMEO and SO_SNDTIMEO of a tick end the wait."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, DEADLINE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, DEADLINE)
        return sock


class Timeout(Bench):
    """The socket has Python's timeout: non-blocking for the kernel, and Python waits."""

    patience = 0.001

    def make(self) -> socket.socket:
        sock = super().make()
        sock.settimeout(self.patience)
        return sock


class Taken(Bench):
    """bind() asks for the peer's own name."""

    def fresh(self) -> Address:
        return self.target() if self.peer is not None else super().fresh()

    def open(self) -> None:
        # The peer itself needs a free name while it is set up.
        self.close()
        super().open()


class Foreign(Bench):
    """bind() asks for an address that is reserved for documentation (RFC 5737)."""

    def fresh(self) -> Address:
        return ("192.0.2.1", 0) if self.peer is not None else super().fresh()


class Nowhere(UnixBench):
    """bind() asks for a path in a folder that does not exist."""

    def fresh(self) -> Address:
        path = super().fresh()
        return f"{path}/x" if self.peer is not None else path


class Sendto(Bench):
    """Every send() is a sendto() to the peer."""

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(b"x", self.target())


class Absent(UnixBench):
    """connect() goes to a path that does not exist."""

    def target(self) -> Address:
        assert self._folder is not None
        return f"{self._folder.name}/absent"


class Stale(UnixBench):
    """connect() goes to the path of a socket that was closed."""

    def target(self) -> Address:
        assert self._folder is not None
        path = f"{self._folder.name}/stale"
        if not Path(path).exists():
            with socket.socket(self.family, self.type) as dead:
                dead.bind(path)
        return path


class Other(UnixBench):
    """connect() goes to the path of a socket of the other type."""

    def set_up(self) -> socket.socket:
        other = {
            socket.SOCK_STREAM: socket.SOCK_DGRAM,
            socket.SOCK_DGRAM: socket.SOCK_STREAM,
        }[socket.SocketKind(self.type)]
        peer = socket.socket(self.family, other)
        peer.bind(self.fresh())
        if other == socket.SOCK_STREAM:
            peer.listen(1)
        peer.setblocking(False)
        return peer
