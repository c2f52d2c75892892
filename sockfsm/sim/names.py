"""Ports and paths of the simulated world: who holds which, and what bind() and connect() find."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sockfsm.sim.frames import Name
from sockfsm.sim.sockets import VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.tcp import Tcb

FIRST, LAST = 32_768, 60_999  # ip_local_port_range
ANY, ANY_SIX = "0.0.0.0", "::"
_OWN = {ANY, ANY_SIX, "::1"}


def wildcard(host: str) -> str:
    """The address that stands for all of a host, in the family of its own one."""
    return ANY_SIX if ":" in host else ANY


def covers(bound: str, host: str) -> bool:
    """Whether who is bound to an address gets what goes to another."""
    return bound == host or bound == wildcard(host)


class Names:
    """paths: path -> the socket bound to it, open or closed; connections: (local, remote) -> Tcb."""

    def __init__(self, random: Random) -> None:
        self.paths: dict[str, VirtualSocket] = {}
        self.bound: dict[tuple[str, int], list[VirtualSocket]] = {}
        self.connections: dict[tuple[Name, Name], Tcb] = {}
        self.reusable: dict[Tcb, bool] = {}
        self._random = random

    def judged(self, sock: VirtualSocket, address: Name | str | None) -> str:
        """The fact `address` of a bind()."""
        if isinstance(address, str):
            if not address:
                return "auto"
            abstract = "abstract" if address[0] == "\0" else "free"
            return "taken" if address in self.paths else abstract
        assert address is not None
        if sock.name is not None and sock.numbered and sock.part("name") == "no":
            return "invalid"
        host, port = address
        if host not in _OWN and host != sock.host and not host.startswith("127."):
            return "foreign"
        return "taken" if port and self.conflict(sock, host, port) else "free"

    def conflict(self, sock: VirtualSocket, host: str, port: int) -> bool:
        """Whether the port cannot be had (socket(7), SO_REUSEADDR)."""
        for other in self.bound.get((sock.kind, port), ()):
            assert isinstance(other.name, tuple)
            overlap = covers(host, other.name[0]) or covers(other.name[0], host)
            shared = sock.reuse and other.reuse and not other.listening
            if other is not sock and overlap and not shared:
                return True
        if sock.kind != "tcp":
            return False
        return any(
            local[1] == port and host in (ANY, local[0]) and not (sock.reuse and self.reusable[tcb])
            for (local, _), tcb in self.connections.items()
            if tcb.orphan
        )

    def listened(self, sock: VirtualSocket) -> bool:
        """Whether another socket listens on its port."""
        if not isinstance(sock.name, tuple):
            return False
        others = self.bound.get((sock.kind, sock.name[1]), ())
        return any(other is not sock and other.listening for other in others)

    def take(self, sock: VirtualSocket, address: Name | str) -> None:
        """Give the socket a name; port 0 is a free one."""
        if isinstance(address, str):
            if not address and sock.name is not None:
                return
            address = address or f"\0{self._random.getrandbits(20):05x}"
            self.paths[address] = sock
            sock.name = address
            return
        host, port = address
        sock.numbered = bool(port)
        sock.name = (host, port or self.free(sock, host))
        self.bound.setdefault((sock.kind, sock.name[1]), []).append(sock)

    def free(self, sock: VirtualSocket, host: str) -> int:
        """An ephemeral port that nobody holds; the kernel begins anywhere."""
        span = LAST - FIRST + 1
        first = self._random.randrange(span)
        for step in range(span):
            port = FIRST + (first + step) % span
            used = any(local[1] == port for local, _ in self.connections)
            if not self.bound.get((sock.kind, port)) and not used:
                return port
        raise LookupError("no port is free")

    def give_back(self, sock: VirtualSocket) -> None:
        """The socket has lost its port; a path stays until somebody unlinks it."""
        if isinstance(sock.name, str) and sock.name[0] == "\0":
            self.paths.pop(sock.name, None)
        if isinstance(sock.name, tuple):
            others = self.bound.get((sock.kind, sock.name[1]), [])
            if sock in others:
                others.remove(sock)

    def held(self, address: object) -> VirtualSocket | None:
        """The socket bound to a path."""
        return self.paths.get(address) if isinstance(address, str) else None

    def found(self, sock: VirtualSocket, address: object) -> str:
        """The fact `target` of a connect() or sendto() to a path."""
        if not isinstance(address, str):
            return "family"
        held = self.paths.get(address)
        if held is None:
            return "absent"
        if not held.open:
            return "dead"
        if held.kind != sock.kind:
            return "othertype"
        if sock.kind == "unix-dgram":
            return "live"
        if not held.listening or held.part("rd") == "shut":
            return "dead"
        return "full" if len(held.queue) > held.backlog else "live"

    def receiver(self, kind: str, host: str, port: int) -> VirtualSocket | None:
        """Who is bound there (a listening socket, or a UDP one)."""
        for sock in self.bound.get((kind, port), ()):
            assert isinstance(sock.name, tuple)
            if covers(sock.name[0], host) and (kind == "udp" or sock.listening):
                return sock
        return None
