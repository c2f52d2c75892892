"""The scenes of random sequences: a socket, live peers, and what they may do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from sockfsm.conform.bench import (
    Address,
    Bench,
    TcpBench,
    UdpBench,
    UnixBench,
    UnixDatagramBench,
    outcome_of,
)
from sockfsm.conform.circumstances import DEADLINE, reset
from sockfsm.conform.methods import RECEIVE, SEND
from sockfsm.tracer.flags import words_of

Heard = list[tuple[str, str, str]]
"""What an action did to the socket: (call word, outcome, variant) of each call."""

_RECEIVE_FLAGS = (
    *("", "", "", "MSG_PEEK", "MSG_DONTWAIT", "MSG_TRUNC", "MSG_OOB", "MSG_ERRQUEUE"),
    "MSG_WAITALL",
)
_SEND_FLAGS = ("", "", "", "MSG_DONTWAIT", "MSG_NOSIGNAL", "MSG_OOB", "MSG_FASTOPEN")
_MODES = ("nonblocking", "nonblocking", "blocking", "timeout")


@dataclass(frozen=True)
class Action:
    """A call on the socket, or something that a peer does."""

    what: str
    how: str = ""
    flags: str = ""
    size: int = 16
    to: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a call on the socket."""
        return not self.what.startswith("peer")

    def __str__(self) -> str:
        words = (self.what, self.how, self.flags, self.to, "" if self.size else "zero")
        return " ".join(filter(None, words))


class Scene(Bench):
    """A bench whose peer accepts and answers, with a dead and a full peer beside it."""

    kind = ""
    calls: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("live", "live", "live", "dead")

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self.ends: list[socket.socket] = []
        self.sock = socket.socket()
        self.sock.close()
        self.mode = "nonblocking"

    @classmethod
    def draw(cls, luck: Random) -> Action:
        """Draw an action at random."""
        if luck.random() < 0.35:
            return Action(luck.choice(cls.peers))
        what = luck.choice(cls.calls)
        if what == "recv":
            how, flags = luck.choice(tuple(RECEIVE)), luck.choice(_RECEIVE_FLAGS)
            size = luck.choice((16, 16, 1, 0))
            return Action(what, how, flags, size)
        if what == "send":
            how, flags = luck.choice(tuple(SEND)), luck.choice(_SEND_FLAGS)
            size = luck.choice((16, 16, 1, 0))
            return Action(what, how, flags, size)
        if what == "connect":
            return Action(what, luck.choice(("", "connect_ex")), to=luck.choice(cls.targets))
        if what == "mode":
            return Action(what, luck.choice(_MODES))
        return Action(what)

    def begin(self) -> socket.socket:
        self.mode = "nonblocking"
        self.sock = super().begin()
        return self.sock

    def end(self) -> None:
        """Called after each sequence: close everything."""
        for end in self.ends:
            reset(end)
        self.ends.clear()
        self.dispose(self.sock)

    def seen(self, sock: socket.socket) -> dict[str, object]:
        self.settle()
        return super().seen(sock)

    def settle(self) -> None:
        """Wait until what was sent has arrived. For most kinds it has when the call returns."""

    def act(self, step: Action) -> Heard | None:
        """Do it. Returns what a tracer of the socket sees, None for what peers do."""
        if step.what.startswith("peer"):
            getattr(self, step.what)()
            self.settle()
            return None
        if step.what == "mode":
            self.change(step.how)
            return []
        if step.what == "take":
            return self.take()
        flags = getattr(socket, step.flags, 0)
        to = self.target() if step.how == "sendto" else None
        name = "auto" if step.what == "bind_auto" else ""
        variant = f"{self.mode} {words_of(flags, step.size, to)} {name}"
        outcome = self.outcome(step, flags)
        self.settle()
        return [(step.what.removesuffix("_auto"), outcome, variant)]

    def outcome(self, step: Action, flags: int) -> str:
        """Make the call."""
        deed = self.deeds(step, flags)
        outcome = outcome_of(deed)
        if outcome == "EAGAIN" and step.what == "connect" and self.mode == "timeout":
            return "EINPROGRESS"  # Python's timeout came while the kernel went on
        nothing = step.size == 0 or self.type == socket.SOCK_DGRAM
        return "ok" if outcome == "eof" and nothing else outcome

    def deeds(self, step: Action, flags: int) -> Callable[[], object]:
        """The function that makes the call."""
        sock = self.sock
        if step.what == "recv":
            return partial(RECEIVE[step.how], sock, step.size, flags)
        if step.what == "send":
            return partial(SEND[step.how], sock, b"x" * step.size, flags, self.target())
        if step.what == "connect":
            return partial(_connect, sock, self.toward(step.to), step.how == "connect_ex")
        if step.what == "bind_auto":
            return partial(sock.bind, "")
        if step.what == "so_error":
            return self.deed(sock, "so_error")
        return self.deed(sock, step.what)

    def toward(self, to: str) -> Address:
        """The address of this sort of peer."""
        return self.target()

    def change(self, mode: str) -> None:
        """Set how the socket waits. If it blocks, calls end after a tick."""
        if self.sock.fileno() < 0:
            return
        self.mode = mode
        self.sock.settimeout({"nonblocking": 0.0, "blocking": None, "timeout": 0.001}[mode])
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.sock.setsockopt(socket.SOL_SOCKET, option, DEADLINE)

    def take(self) -> Heard:
        """accept(), and go on with the data socket instead of the listening one."""
        found: list[socket.socket] = []
        mode = self.mode
        outcome = outcome_of(lambda: found.append(self.sock.accept()[0]))
        if not found:
            return [("accept", outcome, mode)]
        self.ends.append(self.sock)
        self.sock = found[0]
        self.mode = "blocking"
        self.change("nonblocking")
        return [("accept", "ok", mode), ("accepted", "ok", "")]

    def answering(self, deed: Callable[[socket.socket], object]) -> None:
        """Let every peer do something, as far as it can."""
        for end in self.ends:
            outcome_of(partial(deed, end))

    def peer_accepts(self) -> None:
        """Accept all clients that are waiting."""
        while self.peer is not None:
            try:
                end, _ = self.peer.accept()
            except OSError:
                return
            end.setblocking(False)
            self.ends.append(end)

    def peer_sends(self) -> None:
        """Send data to the socket."""
        self.answering(lambda end: end.send(b"data"))

    def peer_reads(self) -> None:
        """Receive all that has come."""
        self.answering(lambda end: end.recv(100_000))

    def peer_ends(self) -> None:
        """Shut its writing side."""
        self.answering(lambda end: end.shutdown(socket.SHUT_WR))

    def peer_closes(self) -> None:
        """Close. That is a reset if data was unread."""
        self.answering(lambda end: end.close())

    def peer_resets(self) -> None:
        """Close with RST."""
        self.answering(reset)

    def peer_comes(self) -> None:
        """Connect to the socket, if it listens."""
        if self.sock.fileno() < 0:
            return
        client = self.make()
        self.ends.append(client)
        outcome_of(lambda: client.connect(self.sock.getsockname()))


def _connect(sock: socket.socket, address: Address, quiet: bool) -> None:
    if not quiet:
        sock.connect(address)
    elif number := sock.connect_ex(address):
        raise OSError(number, os.strerror(number))


_CALLS = (
    *("bind", "connect", "connect", "send", "send", "send", "recv", "recv", "recv", "mode"),
    *("listen", "accept", "shutdown_rd", "shutdown_wr", "shutdown_rdwr", "so_error", "close"),
)
_PEERS = (
    *("peer_accepts", "peer_accepts", "peer_accepts", "peer_sends", "peer_sends", "peer_reads"),
    *("peer_ends", "peer_closes", "peer_resets", "peer_comes"),
)


class TcpScene(Scene, TcpBench):
    """TCP: a live and a dead listener."""

    kind = "tcp"
    calls = (*_CALLS, "take", "bind", "listen")
    peers = _PEERS

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        self._dead = socket.socket(self.family, self.type)
        self._dead.bind(self.fresh())
        return peer

    def close(self) -> None:
        if self.peer is not None:
            self._dead.close()
        super().close()

    def toward(self, to: str) -> Address:
        address: Address = self._dead.getsockname() if to == "dead" else self.target()
        return address


class UdpScene(Scene, UdpBench):
    """UDP: a socket that answers, and a dead one."""

    kind = "udp"
    calls: tuple[str, ...] = _CALLS
    peers = ("peer_sends", "peer_sends", "peer_reads", "peer_dies")

    def toward(self, to: str) -> Address:
        return (self.host, 9) if to == "dead" else self.target()

    def peer_sends(self) -> None:
        if self.sock.fileno() >= 0 and self.peer is not None:
            self.supply(self.sock)

    def peer_reads(self) -> None:
        self.clean()

    def peer_dies(self) -> None:
        """Close, and have another peer with another name take its place."""
        self.open()


class UnixScene(Scene, UnixBench):
    """UNIX streams: the same with paths."""

    kind = "unix-stream"
    calls = (*_CALLS, "take", "bind", "listen", "bind_auto")
    peers = _PEERS

    def toward(self, to: str) -> Address:
        return super().target() + "-" if to == "dead" else self.target()  # type: ignore[operator]


class UnixDatagramScene(UdpScene, UnixDatagramBench):
    """UNIX datagrams: the same with paths."""

    kind = "unix-dgram"
    calls = (*_CALLS, "bind_auto")

    def toward(self, to: str) -> Address:
        return f"{self.target()}-" if to == "dead" else self.target()


SCENES: dict[str, type[Scene]] = {
    scene.kind: scene for scene in (TcpScene, UdpScene, UnixScene, UnixDatagramScene)
}
"""Kind -> the scene of its random sequences."""
