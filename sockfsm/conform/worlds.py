"""Benches beyond the reference environment: peers that close, reset, refuse, send, are full, ..."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from sockfsm.conform.bench import TcpBench, UdpBench, UnixBench, UnixDatagramBench, outcome_of
from sockfsm.conform.circumstances import (
    Absent,
    Blocking,
    Closes,
    Ends,
    Foreign,
    Nowhere,
    Other,
    Queue,
    Resets,
    Sends,
    Sendto,
    Stale,
    Taken,
    Timeout,
)


class TcpRefuses(TcpBench):
    """connect() goes to a port where nobody listens."""

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        return peer


class TcpCloses(Closes, TcpBench):
    """The peer closes each connection at once."""


class TcpEnds(Ends, TcpBench):
    """The peer shuts its writing side at once, and goes on to live."""


class TcpResets(Resets, TcpBench):
    """The peer resets each connection at once."""


class TcpSends(Sends, TcpBench):
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
            outcome_of(partial(filler.connect, peer.getsockname()))
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


class TcpQueue(Queue, TcpBench):
    """A client always waits for accept()."""


class TcpBlocking(Blocking, TcpBench):
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


class UdpSendto(Sendto, UdpBench):
    """Every send() is a sendto()."""


class UdpBlocking(Blocking, UdpBench):
    """A blocking socket."""


class UnixCloses(Closes, UnixBench):
    """The peer closes each connection at once."""


class UnixEnds(Ends, UnixBench):
    """The peer shuts its writing side at once, and goes on to live."""


class UnixResets(UnixBench):
    """The listener closes before it accepts; another one takes its place."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and self.peer is not None:
            self.peer.close()
            self.peer = self.set_up()


class UnixSends(Sends, UnixBench):
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
            outcome = outcome_of(partial(filler.connect, peer.getsockname()))
            self._fillers.append(filler)
        return peer

    def close(self) -> None:
        super().close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


class UnixStale(Stale, UnixBench):
    """connect() goes to a stale path."""


class UnixAbsent(Absent, UnixBench):
    """connect() goes to no path."""


class UnixOther(Other, UnixBench):
    """connect() goes to a datagram socket."""


class UnixQueue(Queue, UnixBench):
    """A client always waits for accept()."""


class UnixSendto(Sendto, UnixBench):
    """Every send() is a sendto()."""


class UnixBlocking(Blocking, UnixBench):
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


class DatagramStale(Stale, UnixDatagramBench):
    """connect() goes to a stale path."""


class DatagramAbsent(Absent, UnixDatagramBench):
    """connect() goes to no path."""


class DatagramOther(Other, UnixDatagramBench):
    """connect() goes to a stream listener."""


class DatagramSendto(Sendto, UnixDatagramBench):
    """Every send() is a sendto()."""


class DatagramBlocking(Blocking, UnixDatagramBench):
    """A blocking socket."""


class TcpTimeout(Timeout, TcpBench):
    """A socket with a timeout."""


class TcpTimeoutRefused(Timeout, TcpRefuses):
    """A socket with a timeout, and nobody listens."""


class TcpBlockingRefused(Blocking, TcpRefuses):
    """A blocking socket, and nobody listens."""


class TcpBlockingCloses(Blocking, TcpCloses):
    """A blocking socket, and the peer closes at once."""


class UdpTimeout(Timeout, UdpBench):
    """A socket with a timeout."""


class UnixTimeout(Timeout, UnixBench):
    """A socket with a timeout."""


class DatagramTimeout(Timeout, UnixDatagramBench):
    """A socket with a timeout."""


class TcpTaken(Taken, TcpBench):
    """bind() to a name that is taken."""


class TcpForeign(Foreign, TcpBench):
    """bind() to another machine's address."""


class UdpTaken(Taken, UdpBench):
    """bind() to a name that is taken."""


class UdpForeign(Foreign, UdpBench):
    """bind() to another machine's address."""


class UnixTaken(Taken, UnixBench):
    """bind() to a path that exists."""


class UnixNowhere(Nowhere, UnixBench):
    """bind() in a folder that does not exist."""


class DatagramTaken(Taken, UnixDatagramBench):
    """bind() to a path that exists."""


class DatagramNowhere(Nowhere, UnixDatagramBench):
    """bind() in a folder that does not exist."""
