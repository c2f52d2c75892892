"""On which side of a ladder a socket stands, and which socket stands on the other side.

On the left stands the active side: a connecting socket, the first of a socketpair, a datagram socket
that is not bound. On the right stands the passive side: listening, accepted and bound sockets.
"""

from __future__ import annotations

from sockfsm.events import Message, Packet, Socket
from sockfsm.tcp_names import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT
from sockfsm.views.lanes import Lanes
from sockfsm.wire.kernel_states import KernelState

LEFT, RIGHT = 0, 1
_OPENING = (CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED)


class Placement:
    """The sides and the peers of one trace's sockets."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._peers = lanes.summary.peers.of
        self._directory = lanes.summary.directory
        self._sides: dict[str, int] = {}
        parents = {socket.parent for socket in lanes.sockets.values()}
        for socket in lanes.sockets.values():
            self._sides[socket.identity] = self._side(socket, parents)

    def _side(self, socket: Socket, parents: set[str | None]) -> int:
        if socket.made_by == "accepted" or socket.identity in parents:
            return RIGHT
        # Both are made by one call: the one with the lower number stands on the left.
        if socket.made_by == "socketpair":
            other = self._peers.get(socket.identity)
            return RIGHT if other is not None and other.number < socket.number else LEFT
        return RIGHT if socket.local and not socket.remote else LEFT

    def side(self, socket: Socket | None) -> int:
        """LEFT or RIGHT; LEFT for None."""
        return self._sides.get(socket.identity, LEFT) if socket is not None else LEFT

    def peer(self, socket: Socket | None) -> Socket | None:
        """The traced socket at the other end; None if there never was one."""
        if socket is None:
            return None
        return self._peers.get(socket.identity) or self._lanes.peer(socket)

    def of_packet(self, packet: Packet | Message) -> int:
        """The side of the sender."""
        # The sender is not traced. It stands opposite to its receiver.
        if packet.socket is None and packet.receiver is not None:
            return 1 - self.side(packet.receiver)
        return self.side(packet.socket)

    def of_kernel(self, state: KernelState) -> tuple[int, Socket | None]:
        """(side, traced socket or None) that a change of state belongs to."""
        # Not every state has a traced socket of its own: the kernel makes one for each SYN before
        # accept.
        near, far, time = state.source, state.target, state.time
        opens = state.before in _OPENING
        socket = other = None
        if self._directory is not None:
            owner, connected = self._directory.owner, far[1] != 0
            socket = owner("tcp", near, far, time, opens=opens, asks=opens, connected=connected)
            if socket is None:
                other = owner("tcp", far, near, time, opens=opens)
        return (1 - self.side(other) if other is not None else self.side(socket)), socket
