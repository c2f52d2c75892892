"""Environments of single kinds: a full queue, a dead peer, a socket connected to itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from sockfsm.conform.bench import Bench, TcpBench, UdpBench, UnixDatagramBench, outcome_of


class Refuses(TcpBench):
    """connect() goes to a port where nobody listens."""

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        return peer


class Crowded(Bench):
    """The listener's queue is full: TCP leaves a SYN unanswered, a UNIX connect() finds no room."""

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self._fillers: list[socket.socket] = []

    def set_up(self) -> socket.socket:
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        peer.listen(0)
        # Of the second one in TCP's queue nobody hears that it is one too many.
        most = 1_000 if self.family == socket.AF_UNIX else 2
        outcome = ""
        while outcome != "EAGAIN" and len(self._fillers) < most:
            filler = self.make()
            self._fillers.append(filler)
            outcome = outcome_of(partial(filler.connect, peer.getsockname()))
        return peer

    def close(self) -> None:
        super().close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


class Itself(TcpBench):
    """connect() goes to the socket's own name. A socket without a name is bound just before.

    Each of these connections leaves a TIME_WAIT, so the loopback address changes often.
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


class Dead(UdpBench):
    """connect() goes to a port that no socket has."""

    def set_up(self) -> socket.socket:
        # A connected peer takes nothing from others: for them its port is dead, and cannot be
        # given to somebody else meanwhile.
        peer = super().set_up()
        peer.connect((self.host, 9))
        return peer


class Supplied(UdpBench):
    """A datagram is waiting before each recv() of a socket that has a name."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "recv" and sock.fileno() >= 0:
            self.supply(sock)


class Dies(Bench):
    """The peer dies after each connect(), before it accepts; another one takes its place."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and self.peer is not None:
            self.peer.close()
            self.peer = self.set_up()


class Deaf(Bench):
    """The peer has shut its reading side."""

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        peer.shutdown(socket.SHUT_RD)
        return peer


class FullQueue(UnixDatagramBench):
    """The peer's queue is full."""

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        with socket.socket(self.family, self.type) as filler:
            filler.setblocking(False)
            while outcome_of(lambda: filler.sendto(b"f", peer.getsockname())) == "ok":
                continue
        return peer

    def clean(self) -> None:
        """Leave the queue full."""
