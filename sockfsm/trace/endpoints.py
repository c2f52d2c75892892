"""Which packets are the traced connections': those that come from or go to an end of one."""

from __future__ import annotations

from collections.abc import Iterable
from socket import AF_INET, AF_INET6

from sockfsm.trace.events import Address, Call, Packet

_ANY = ("0.0.0.0", "::")
_MAPPED = "::ffff:"


class Endpoints:
    """The names that traced INET sockets had or spoke to."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._ends: set[tuple[str, str, int]] = set()
        self._ports: set[tuple[str, int]] = set()
        for call in calls:
            socket = call.socket
            if socket is None or socket.family not in (AF_INET, AF_INET6):
                continue
            if call.address is not None or call.moved:
                for address in (socket.local, socket.remote, call.address):
                    self._add(socket.kind, address)

    def _add(self, protocol: str, address: Address | None) -> None:
        if not isinstance(address, tuple) or len(address) < 2:
            return
        host, port = address[:2]
        if not isinstance(host, str) or not isinstance(port, int) or not port:
            return
        if host in _ANY or host == "":
            self._ports.add((protocol, port))
        self._ends.add((protocol, host.removeprefix(_MAPPED), port))

    def has(self, packet: Packet | None) -> bool:
        """Whether one of the packet's ends is a traced one."""
        return packet is not None and any(
            self.holds(packet.protocol, host, port) for host, port in (packet.source, packet.target)
        )

    def holds(self, protocol: str, host: str, port: int) -> bool:
        """Whether that is the name of a traced end. host: '' when it is not known."""
        if (protocol, host, port) in self._ends or (protocol, port) in self._ports:
            return True
        return not host and any(end[0] == protocol and end[2] == port for end in self._ends)
