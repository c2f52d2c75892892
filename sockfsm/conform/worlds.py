"""Benches beyond the reference environment: peers that close, reset, refuse, send, are full, ..."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

from sockfsm.conform.bench import (
    Address,
    Bench,
    TcpBench,
    UdpBench,
    UnixBench,
    UnixDatagramBench,
    outcome_of,
)

_LINGER_ZERO = struct.pack("ii", 1, 0)
_DEADLINE = struct.pack("ll", 0, 1_000)
"""One millisecond, which the kernel rounds up to a tick: what blocking means when it must end."""


class _Accepting(Bench):
    """A peer that accepts at once, and does something with each new connection."""

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
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            end.close()
        self.ends.clear()


class _Closes(_Accepting):
    def treat(self, end: socket.socket) -> None:
        end.close()


class _Ends(_Accepting):
    def treat(self, end: socket.socket) -> None:
        end.shutdown(socket.SHUT_WR)
        super().treat(end)


class _Resets(_Accepting):
    def treat(self, end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        end.close()


class _Sends(_Accepting):
    """Before each recv() there is something to receive."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "recv":
            for end in self.ends:
                outcome_of(lambda end=end: end.send(b"d", socket.MSG_DONTWAIT))  # type: ignore[misc]


class _Queue(Bench):
    """Before each accept() a client waits, where the socket listens."""

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


class _Blocking(Bench):
    """The socket blocks, until a deadline of a tick ends the wait."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _DEADLINE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _DEADLINE)
        return sock


class _Timeout(Bench):
    """The socket has Python's timeout: non-blocking for the kernel, and Python waits."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.settimeout(0.001)
        return sock


class _Taken(Bench):
    """bind() asks for the peer's own name."""

    def fresh(self) -> Address:
        return self.target() if self.peer is not None else super().fresh()

    def open(self) -> None:
        # The peer itself needs a free name: none is there while it is set up.
        self.close()
        super().open()


class _Foreign(Bench):
    """bind() asks for an address of the documentation's network (RFC 5737)."""

    def fresh(self) -> Address:
        return ("192.0.2.1", 0) if self.peer is not None else super().fresh()


class _Nowhere(UnixBench):
    """bind() asks for a path in a folder that does not exist."""

    def fresh(self) -> Address:
        path = super().fresh()
        return f"{path}/x" if self.peer is not None else path


class _Sendto(Bench):
    """Every send() is a sendto() to the peer."""

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(b"x", self.target())


class _Absent(UnixBench):
    """connect() goes to a path that does not exist."""

    def target(self) -> Address:
        assert self._folder is not None
        return f"{self._folder.name}/absent"


class _Stale(UnixBench):
    """connect() goes to the path of a socket that was closed."""

    def target(self) -> Address:
        assert self._folder is not None
        path = f"{self._folder.name}/stale"
        if not Path(path).exists():
            with socket.socket(self.family, self.type) as dead:
                dead.bind(path)
        return path


class _Other(UnixBench):
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


class TcpRefuses(TcpBench):
    """connect() goes to a port where nobody listens."""

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        return peer


class TcpCloses(_Closes, TcpBench):
    """The peer closes each connection at once."""


class TcpEnds(_Ends, TcpBench):
    """The peer shuts its writing side at once, and goes on to live."""


class TcpResets(_Resets, TcpBench):
    """The peer resets each connection at once."""


class TcpSends(_Sends, TcpBench):
    """The peer has always sent something."""


class TcpSilent(TcpBench):
    """The listener's queue is full, so that SYNs are not answered."""

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self._fillers: list[socket.socket] = []

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        peer.listen(0)
        for _ in range(2):
            filler = self.make()
            outcome_of(lambda filler=filler: filler.connect(peer.getsockname()))  # type: ignore[misc]
            self._fillers.append(filler)
        return peer

    def close(self) -> None:
        super().close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


class TcpItself(TcpBench):
    """connect() goes to the socket's own name; one without a name gets one just before.

    Each closing by both FINs leaves a TIME_WAIT: the loopback address changes often.
    """

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self._connected = False
        self._turn = 0

    def open(self) -> None:
        self._turn += 1
        self.host = f"127.{120 + self._turn // 250 % 8}.{self._turn % 250}.{1 + self.lane % 250}"
        super().open()

    def begin(self) -> socket.socket:
        self._connected = False
        return super().begin()

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and not self._connected and sock.fileno() >= 0:
            outcome_of(lambda: sock.bind(self.fresh()))

    def step(self, sock: socket.socket, call: str) -> str:
        outcome = super().step(sock, call)
        if call == "connect" and outcome in ("EINPROGRESS", "ok"):
            self._connected = True
        elif call == "disconnect" or outcome == "ECONNABORTED":
            self._connected = False
        return outcome

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "connect":
            return lambda: sock.connect(sock.getsockname())
        return super().deed(sock, call)


class TcpQueue(_Queue, TcpBench):
    """A client always waits for accept()."""


class TcpBlocking(_Blocking, TcpBench):
    """A blocking socket."""


class UdpDead(UdpBench):
    """connect() goes to a port where nobody is bound."""

    def set_up(self) -> socket.socket:
        # A connected peer takes nothing from others: for them its port is dead, and cannot be
        # given to somebody else meanwhile.
        peer = super().set_up()
        peer.connect((self.host, 9))
        return peer


class UdpSends(UdpBench):
    """The peer has always sent something, where the socket has a name."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call != "recv" or sock.fileno() < 0 or self.peer is None:
            return
        name = sock.getsockname()
        if not name[1]:
            return
        host = self.host if name[0] in ("0.0.0.0", "") else name[0]
        self.peer.sendto(b"d", (host, name[1]))


class UdpSendto(_Sendto, UdpBench):
    """Every send() is a sendto()."""


class UdpBlocking(_Blocking, UdpBench):
    """A blocking socket."""


class UnixCloses(_Closes, UnixBench):
    """The peer closes each connection at once."""


class UnixEnds(_Ends, UnixBench):
    """The peer shuts its writing side at once, and goes on to live."""


class UnixResets(UnixBench):
    """The listener closes before it accepts; another one takes its place."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and self.peer is not None:
            self.peer.close()
            self.peer = self.set_up()


class UnixSends(_Sends, UnixBench):
    """The peer has always sent something."""


class UnixFull(UnixBench):
    """The listener's queue is full."""

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self._fillers: list[socket.socket] = []

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        peer.listen(0)
        outcome = "ok"
        while outcome == "ok":
            filler = self.make()
            outcome = outcome_of(lambda filler=filler: filler.connect(peer.getsockname()))  # type: ignore[misc]
            self._fillers.append(filler)
        return peer

    def close(self) -> None:
        super().close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


class UnixStale(_Stale, UnixBench):
    """connect() goes to a stale path."""


class UnixAbsent(_Absent, UnixBench):
    """connect() goes to no path."""


class UnixOther(_Other, UnixBench):
    """connect() goes to a datagram socket."""


class UnixQueue(_Queue, UnixBench):
    """A client always waits for accept()."""


class UnixSendto(_Sendto, UnixBench):
    """Every send() is a sendto()."""


class UnixBlocking(_Blocking, UnixBench):
    """A blocking socket."""


class DatagramDead(UnixDatagramBench):
    """The peer dies after each connect(); the next one goes to another peer."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and self.peer is not None:
            self.peer.close()
            self.peer = self.set_up()


class DatagramDeaf(UnixDatagramBench):
    """The peer has shut its reading side."""

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        peer.shutdown(socket.SHUT_RD)
        return peer


class DatagramSends(UnixDatagramBench):
    """The peer has always sent something, where the socket has a path."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call != "recv" or sock.fileno() < 0 or self.peer is None:
            return
        name = sock.getsockname()
        if name:
            outcome_of(lambda: self.peer and self.peer.sendto(b"d", name))


class DatagramFull(UnixDatagramBench):
    """The peer's queue is full."""

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        with socket.socket(self.family, self.type) as filler:
            filler.setblocking(False)
            while outcome_of(lambda: filler.sendto(b"f", peer.getsockname())) == "ok":
                continue
        return peer

    def clean(self) -> None:
        """The queue stays full."""


class DatagramStale(_Stale, UnixDatagramBench):
    """connect() goes to a stale path."""


class DatagramAbsent(_Absent, UnixDatagramBench):
    """connect() goes to no path."""


class DatagramOther(_Other, UnixDatagramBench):
    """connect() goes to a stream listener."""


class DatagramSendto(_Sendto, UnixDatagramBench):
    """Every send() is a sendto()."""


class DatagramBlocking(_Blocking, UnixDatagramBench):
    """A blocking socket."""


class TcpTimeout(_Timeout, TcpBench):
    """A socket with a timeout."""


class TcpTimeoutRefused(_Timeout, TcpRefuses):
    """A socket with a timeout, and nobody listens."""


class TcpBlockingRefused(_Blocking, TcpRefuses):
    """A blocking socket, and nobody listens."""


class TcpBlockingCloses(_Blocking, TcpCloses):
    """A blocking socket, and the peer closes at once."""


class UdpTimeout(_Timeout, UdpBench):
    """A socket with a timeout."""


class UnixTimeout(_Timeout, UnixBench):
    """A socket with a timeout."""


class DatagramTimeout(_Timeout, UnixDatagramBench):
    """A socket with a timeout."""


class TcpTaken(_Taken, TcpBench):
    """bind() to a name that is taken."""


class TcpForeign(_Foreign, TcpBench):
    """bind() to another machine's address."""


class UdpTaken(_Taken, UdpBench):
    """bind() to a name that is taken."""


class UdpForeign(_Foreign, UdpBench):
    """bind() to another machine's address."""


class UnixTaken(_Taken, UnixBench):
    """bind() to a path that exists."""


class UnixNowhere(_Nowhere, UnixBench):
    """bind() in a folder that does not exist."""


class DatagramTaken(_Taken, UnixDatagramBench):
    """bind() to a path that exists."""


class DatagramNowhere(_Nowhere, UnixDatagramBench):
    """bind() in a folder that does not exist."""
