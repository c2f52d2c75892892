"""Scenes directed by a script. Its acts (`!peer_ends`) happen between the calls; a tracer sees none."""

from __future__ import annotations

import _socket
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sockfsm.conform.bench import Address, Bench, outcome_of
from sockfsm.conform.scenes import Scene, TcpScene, UdpScene, UnixDatagramScene, UnixScene
from sockfsm.conform.stages import StageError

_recv = _socket.socket.recv


class Directed(Scene):
    """Adds the acts that only scripts use; what peers do is in `Scene`.

    aim: live or dead, where connect() goes. flags, size: of every transfer from now on; with
    MSG_FASTOPEN connect() is a sendto().
    """

    def begin(self) -> socket.socket:
        self.to, self.asked, self.bytes = "live", 0, 16
        return super().begin()

    def act_out(self, act: str) -> None:
        """Do an act: its name, and after a colon its argument."""
        name, _, argument = act.partition(":")
        getattr(self, name)(*(argument,) if argument else ())
        self.settle()

    def aim(self, to: str) -> None:
        """Set where connect() goes."""
        self.to = to

    def wait(self, mode: str) -> None:
        """Set how the socket waits."""
        self.change(mode)

    def flags(self, name: str) -> None:
        """Set the flags of every transfer."""
        self.asked = getattr(socket, name)

    def size(self, text: str) -> None:
        """Set the size of every transfer."""
        self.bytes = int(text)

    def unseen(self, call: str) -> None:
        """Make a call through another descriptor, where no tracer sees it. Any outcome will do."""
        plain: Any = _socket.socket(self.family, self.type, 0, os.dup(self.sock.fileno()))
        outcome_of(self.deed(plain, call))
        plain.close()

    def tried(self, sock: socket.socket) -> socket.socket:
        return self.sock

    def peer_urges(self) -> None:
        """Let the peer send a byte of urgent data."""
        self.answering(lambda end: end.send(b"u", socket.MSG_OOB))

    def narrow(self) -> None:
        """Give the socket a tiny receive buffer. Only before connect()."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    def peer_urges_ahead(self) -> None:
        """Let the peer send urgent data behind more than the window holds: only its pointer arrives.

        The pointer comes in a probe, which the kernel sends after a while. We ask the kernel for the
        byte directly until its errno changes; a tracer does not see that.
        """
        self.answering(lambda end: end.send(bytes(30_000)))
        self.peer_urges()
        deadline = time.monotonic() + 30
        while outcome_of(lambda: _recv(self.sock, 1, socket.MSG_OOB)) != "EAGAIN":
            if time.monotonic() > deadline:
                raise StageError("the urgent pointer did not come ahead of its byte")
            time.sleep(0.01)

    def become(self) -> None:
        """Let the socket accept, and go on with the data socket."""
        listening, self.sock = self.sock, self.sock.accept()[0]
        self.ends.append(listening)
        self.change("nonblocking")

    def step(self, sock: socket.socket, call: str) -> str:
        outcome = super().step(self.sock, call)
        return "ok" if outcome == "eof" and self.bytes == 0 else outcome

    def target(self) -> Address:
        return self.toward(self.to) if self.to == "dead" else super().target()

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "connect" and self.asked:
            return lambda: sock.sendto(b"x", self.asked, self.target())
        if call == "send":
            return lambda: sock.send(b"x" * self.bytes, self.asked)
        if call == "recv":
            return lambda: sock.recv(self.bytes, self.asked)
        return super().deed(sock, call)


class DirectedTcp(Directed, TcpScene):
    """Stream sockets."""

    def toward(self, to: str) -> Address:
        address: Address = self._dead.getsockname() if to == "dead" else Scene.target(self)
        return address


class DirectedUdp(Directed, UdpScene):
    """Datagram sockets."""


class DirectedUnix(Directed, UnixScene):
    """Stream sockets with paths."""


class DirectedDatagram(Directed, UnixDatagramScene):
    """Datagram sockets with paths."""


class Cookies(DirectedTcp):
    """The peer supports Fast Open, and has given a cookie. Needs a network namespace of its own."""

    def set_up(self) -> socket.socket:
        try:
            Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("3")
        except OSError as error:
            raise StageError(f"tcp_fastopen: {error.strerror}") from None
        peer = super().set_up()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        with socket.socket() as first:
            first.sendto(b"x", socket.MSG_FASTOPEN, peer.getsockname())
        return peer


DIRECTED: dict[str, type[Directed]] = {
    scene.kind: scene for scene in (DirectedTcp, DirectedUdp, DirectedUnix, DirectedDatagram)
}
"""Kind -> the scene."""


class Beside(Bench):
    """A second object has the same descriptor, and closes it first."""

    def begin(self) -> socket.socket:
        sock = super().begin()
        self.twin = socket.socket(fileno=sock.fileno())
        return sock

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "close" and self.twin.fileno() >= 0:
            return self.twin.close
        return super().deed(sock, call)

    def act_out(self, act: str) -> None:
        """`!close`: the second object closes it."""
        self.twin.close()

    def dispose(self, sock: socket.socket) -> None:
        sock.detach()
