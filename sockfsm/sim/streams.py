"""The bytes of simulated sockets: how a send() moves them, how a recv() takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockfsm.sim.frames import Name
from sockfsm.sim.names import wildcard
from sockfsm.sim.network import Segment
from sockfsm.sim.sockets import PIPE, Request, UnixEnd, VirtualSocket
from sockfsm.sim.stack import source
from sockfsm.sim.tcp import Tcb

if TYPE_CHECKING:
    from sockfsm.sim.kernel import Kernel


def push(kernel: Kernel, sock: VirtualSocket, request: Request, data: bytes) -> int:
    """Send; how many bytes were taken."""
    if sock.tcb is not None:
        kernel.stack.adjust(sock)
        return sock.tcb.write(data)
    if sock.end is not None:
        peer = sock.end.peer
        assert peer is not None
        taken = data[: (sock.sndbuf or PIPE) - len(peer.received)]
        peer.received += taken
        if peer.owner is not None:
            kernel.woken(peer.owner)
        return len(taken)
    if sock.kind == "udp":
        target = request.address if request.address is not None else sock.target
        if sock.name is None:
            kernel.names.take(sock, (wildcard(sock.host), 0))
        assert isinstance(sock.name, tuple)
        assert isinstance(target, tuple)
        kernel.network.send(Segment("udp", source(sock), target, 0, 0, 0, 0, data))
        return len(data)
    held = kernel.names.held(request.address) if request.address is not None else sock.peer
    assert held is not None
    held.datagrams.append((data, sock.name))
    kernel.woken(held)
    return len(data)


def pull(kernel: Kernel, sock: VirtualSocket, request: Request) -> tuple[bytes, Name | str | None]:
    """Receive: the bytes and who sent them."""
    if sock.tcb is not None:
        return sock.tcb.read(request.size, request.peek), None
    if sock.end is not None:
        end = sock.end
        data = bytes(end.received[: request.size])
        if request.peek:
            return data, None
        del end.received[: request.size]
        if end.peer is not None and end.peer.owner is not None:
            kernel.woken(end.peer.owner)
        return data, None
    if not sock.datagrams:
        return b"", None  # shut for reading
    data, sender = sock.datagrams[0]
    if request.peek:
        return data[: request.size], sender
    sock.datagrams.popleft()
    for other in waiting_for(kernel, sock):
        kernel.woken(other)
    return data[: request.size], sender


def waiting_for(kernel: Kernel, sock: VirtualSocket) -> list[VirtualSocket]:
    """Senders that may wait for room in this datagram socket's queue, clients for a listener's."""
    if sock.kind not in ("unix-dgram", "unix-stream"):
        return []
    return list(dict.fromkeys(kernel.everybody))


def adopt(kernel: Kernel, data: VirtualSocket, waiting: object) -> None:
    """Make a data socket of what waited in the queue."""
    if isinstance(waiting, UnixEnd):
        data.end = waiting
        waiting.owner = data
        client = waiting.peer.owner if waiting.peer is not None else None
        data.target = client.name if client is not None else None
        return
    assert isinstance(waiting, Tcb)
    data.tcb = waiting
    kernel.stack.owns(waiting, data)
    kernel.stack.adjust(data)
    data.name, data.target = waiting.local, waiting.remote


def closed(kernel: Kernel, end: UnixEnd) -> None:
    """A UNIX stream's end is closed: with unread data that is a reset for the other one."""
    peer = end.peer
    if peer is not None and end.received and not peer.closed:
        peer.error = "ECONNRESET"
    end.closed = True
    if peer is not None and peer.owner is not None:
        kernel.woken(peer.owner)
