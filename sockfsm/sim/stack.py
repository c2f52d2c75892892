"""TCP and the sockets: whose segment it is, what a new connection is, what is left of an old one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sockfsm import tcp_names
from sockfsm.model.rules import Parts
from sockfsm.sim.clock import Clock
from sockfsm.sim.frames import ACK, FIN, RST, SYN, Name
from sockfsm.sim.names import Names, wildcard
from sockfsm.sim.network import Segment
from sockfsm.sim.sockets import VirtualSocket
from sockfsm.sim.tcp import Tcb
from sockfsm.sim.tcp_keep import IDLE, SECOND

LOCAL_MSS, MSS = 65_495, 1_460


def source(sock: VirtualSocket) -> Name:
    """A bound socket's name as its peers see it: bound to any address, it has its host's."""
    assert isinstance(sock.name, tuple)
    host, port = sock.name
    return (sock.host if host == wildcard(host) else host, port)


class Stack:
    """The TCP of all hosts."""

    def __init__(
        self, clock: Clock, random: Random, names: Names, woken: Callable[[VirtualSocket], None]
    ) -> None:
        self.send: Callable[[Segment], None] = lambda segment: None
        self._clock, self._random, self._names, self._woken = clock, random, names, woken
        self._owners: dict[Tcb, VirtualSocket] = {}
        self._opening: dict[Tcb, VirtualSocket] = {}

    def connect(self, sock: VirtualSocket, target: Name) -> None:
        """Begin to connect."""
        if sock.name is None:
            self._names.take(sock, (sock.host, 0))
        assert isinstance(sock.name, tuple)
        local = source(sock)
        sock.target, sock.failure = target, ""
        tcb = sock.tcb = self._new(local, target)
        self._owners[tcb] = sock
        self.adjust(sock)
        # A simultaneous open remembers a shutdown() that was asked for in vain.
        tcb.fin_wanted = local == target and sock.part("wr") != "open"
        tcb.open()

    def adjust(self, sock: VirtualSocket) -> None:
        """Have a socket's connection know what was set on it."""
        tcb = sock.tcb
        if tcb is None:
            return
        tcb.nodelay = sock.nodelay
        if sock.sndbuf:
            tcb.room = sock.sndbuf
        if sock.rcvbuf:
            tcb.buffer = sock.rcvbuf
        if sock.keepalive is not None:
            tcb.keep_alive((sock.keepalive or IDLE) * SECOND)

    def owns(self, tcb: Tcb, sock: VirtualSocket) -> None:
        """accept() has made a data socket of it."""
        self._owners[tcb] = sock

    def _new(self, local: Name, remote: Name) -> Tcb:
        mss = LOCAL_MSS if local[0] == remote[0] or remote[0].startswith(("127.", "::1")) else MSS
        iss = self._random.getrandbits(32)
        tcb = Tcb(self._clock, self.send, self._changed, local, remote, iss, mss)
        self._names.connections[local, remote] = tcb
        self._names.reusable[tcb] = False
        return tcb

    def arrive(self, segment: Segment) -> None:
        """A segment has come: to its connection, to who listens, or to nobody."""
        key = (segment.target, segment.source)
        tcb = self._names.connections.get(key)
        opening = segment.flags & (SYN | ACK | RST) == SYN
        if tcb is not None and tcb.state == tcp_names.TIME_WAIT and opening:
            self._forget(tcb)  # a new connection may begin (RFC 9293, 3.10.7.4; RFC 6191)
            tcb = None
        if tcb is not None:
            tcb.arrive(segment)
            return
        listener = self._names.receiver("tcp", *segment.target) if opening else None
        if listener is not None:
            if len(listener.queue) > listener.backlog:
                return  # the queue is full: the SYN is dropped, and will come again
            tcb = self._new(segment.target, segment.source)
            self._opening[tcb] = listener
            self._names.reusable[tcb] = listener.reuse
            if listener.rcvbuf:
                tcb.buffer = listener.rcvbuf
            tcb.answer(segment)
        elif not segment.flags & RST:
            self._refuse(segment)

    def _refuse(self, segment: Segment) -> None:
        """RST answers a segment of no connection (RFC 9293, 3.10.7.1)."""
        source, target = segment.target, segment.source
        if segment.flags & ACK:
            self.send(Segment("tcp", source, target, segment.ack, 0, RST, 0, b""))
            return
        length = len(segment.data) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        ack = (segment.seq + length) % 2**32
        self.send(Segment("tcp", source, target, 0, ack, RST | ACK, 0, b""))

    def _changed(self, tcb: Tcb) -> None:
        listener = self._opening.get(tcb)
        if listener is not None and tcb.state != tcp_names.SYN_RECEIVED:
            del self._opening[tcb]
            if tcb.state != tcp_names.CLOSED:
                listener.queue.append(tcb)
                self._woken(listener)
        if tcb.state == tcp_names.CLOSED:
            self._forget(tcb)
        sock = self._owners.get(tcb)
        if sock is not None:
            self._woken(sock)

    def _forget(self, tcb: Tcb) -> None:
        key = (tcb.local, tcb.remote)
        if self._names.connections.get(key) is tcb:
            del self._names.connections[key]

    def refuse_queue(self, sock: VirtualSocket) -> None:
        """A listening socket ends: who waits in its queue is reset."""
        for tcb in [t for t, listener in self._opening.items() if listener is sock]:
            del self._opening[tcb]
            tcb.orphan = True
            tcb.abort()
            self._forget(tcb)
        for waiting in sock.queue:
            if isinstance(waiting, Tcb):
                waiting.orphan = True
                waiting.abort()
                self._forget(waiting)

    def settle(self, sock: VirtualSocket, had: Parts) -> None:
        """What the socket's new parts mean for its connection, its queue and its port."""
        tcb = sock.tcb
        if had == sock.parts:
            return
        if had[sock.order["role"]] == "listening" and not sock.listening:
            self.refuse_queue(sock)
            sock.queue.clear()
            self._woken(sock)
        lingers = bool(sock.linger) and not sock.open  # close() still waits for it
        if tcb is not None and sock.part("role") == "fresh" and not lingers:
            sock.failure = tcb.error
            if tcb.state != tcp_names.CLOSED and not tcb.orphan:
                tcb.abort()
            if tcb.state == tcp_names.CLOSED:
                self._forget(tcb)
            self._owners.pop(tcb, None)
            sock.tcb = None
        if sock.part("name") == "no" and had[sock.order["name"]] == "yes" and not sock.numbered:
            self._names.give_back(sock)
            sock.name = None
