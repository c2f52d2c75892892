"""Which end of a ladder a socket stands at, and which socket stands at the other end.

At the left is who opens: the connecting socket, the first of a pair, who sends datagrams without a
name of its own. At the right is who is spoken to: listening and accepted sockets, bound ones.
"""

from __future__ import annotations

from sockfsm.trace.events import Address, Packet, Socket
from sockfsm.trace.index import end_of
from sockfsm.trace.summary import Summary
from sockfsm.views.lanes import Lanes
from sockfsm.wire.kernel_states import KernelState

LEFT, RIGHT = 0, 1


class Ends:
    """The sides and peers of one trace's sockets, by their identities."""

    def __init__(self, lanes: Lanes, told: Summary) -> None:
        self._lanes = lanes
        self._peers = told.peers.of
        self._index = told.index
        self._sides: dict[str, int] = {}
        self._nameless: dict[tuple[tuple[str, int], tuple[str, int]], Socket] = {}
        self._by_ports: dict[tuple[int, int], list[Socket]] = {}
        parents = {socket.parent for socket in lanes.sockets.values()}
        for socket in lanes.sockets.values():
            self._sides[socket.identity] = self._side(socket, parents)
            ports = _port(socket.local), _port(socket.remote)
            self._by_ports.setdefault(ports, []).append(socket)

    def _side(self, socket: Socket, parents: set[str | None]) -> int:
        if socket.made_by == "accepted" or socket.identity in parents:
            return RIGHT
        if socket.made_by == "socketpair":
            other = self._peers.get(socket.identity)
            return RIGHT if other is not None and other.number < socket.number else LEFT
        return RIGHT if socket.local and not socket.remote else LEFT

    def side(self, socket: Socket | None) -> int:
        """LEFT or RIGHT; LEFT for what has no socket."""
        return self._sides.get(socket.identity, LEFT) if socket is not None else LEFT

    def peer(self, socket: Socket | None) -> Socket | None:
        """The traced socket at the other end, once there was one."""
        if socket is None:
            return None
        return self._peers.get(socket.identity) or self._lanes.peer(socket)

    def of_packet(self, packet: Packet) -> tuple[int, Socket | None, Socket | None]:
        """(the sender's side, sender, receiver); None for an end that is not traced."""
        sender, receiver = packet.socket, self._lanes.receiver(packet)
        if sender is not None and sender.local is None:
            # A connect that failed leaves no name: what comes back is known by what went out.
            self._nameless[packet.source, packet.target] = sender
        if receiver is None:
            receiver = self._nameless.get((packet.target, packet.source))
        if sender is None and receiver is not None:
            return 1 - self.side(receiver), sender, receiver
        return self.side(sender), sender, receiver

    def of_kernel(self, state: KernelState) -> tuple[int, Socket | None]:
        """(the side, the one traced socket) that a change of state belongs to."""
        ports = state.source[1], state.target[1]
        found = self._by_ports.get(ports, ())
        if found:
            return self.side(found[0]), found[0] if len(found) == 1 else None
        other = self._by_ports.get((ports[1], ports[0]), ())
        if other:
            return 1 - self.side(other[0]), None
        # Its connect failed: it has no name in the end, but it called there then.
        syn = Packet(state.time, 0, "tcp", state.source, state.target, "S", 0, 0, 0, 0, b"", 1)
        socket = self._index.sender(syn) if self._index is not None else None
        return self.side(socket), socket


def _port(value: Address | None) -> int:
    end = end_of(value)
    return end[1] if end is not None else 0
