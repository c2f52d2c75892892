"""What ended which wait: the other half of the join of packets and calls.

A blocked connect is ended by SYN-ACK or RST, a recv by data, FIN or RST, a send by RST. For a blocked
accept we name the SYN of the connection that it returned, although the kernel hands that over only
when the handshake is complete.

AF_UNIX sockets have no packets; there, a call at the other end does it. A send ends a recv, a connect
ends an accept, an accept ends a connect that a full backlog held up, and close and shutdown end
whatever waits for their end. What made room for a blocked send cannot be decided.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain

from sockfsm.events import Address, Call, Packet, Socket
from sockfsm.trace.causes import BEGIN, LOOK_BACK
from sockfsm.trace.directory import end_of
from sockfsm.trace.unix_wire import ENDING, Peers, is_unix

_WORDS = frozenset({"accept", "connect", "recv", "send"})
_WAKING = ENDING | {"send", "connect", "accept"}
_RESET = frozenset({"ECONNRESET", "ECONNREFUSED", "EPIPE"})
_ENDED = ("eof", "ECONNRESET", "EPIPE")


class Waits:
    """The calls that blocked.

    of: identity -> the socket's calls that the other end can end, by begin. others: all other calls.
    towards: the name of an AF_UNIX listener -> the connects to it.
    """

    def __init__(self) -> None:
        self.others: list[Call] = []
        self.of: dict[str, list[Call]] = {}
        self.towards: dict[Address, list[Call]] = {}

    def add(self, call: Call) -> None:
        """Add one call; `finish` after the last one."""
        if not call.waited:
            return
        if call.socket is None or call.call not in _WORDS:
            self.others.append(call)
        else:
            self.of.setdefault(call.socket.identity, []).append(call)
            if call.call == "connect" and call.address is not None and is_unix(call.socket):
                self.towards.setdefault(call.address, []).append(call)

    @property
    def all(self) -> list[Call]:
        """Every call that blocked, in the order of their begins."""
        return sorted(chain(self.others, *self.of.values()), key=BEGIN)

    def finish(self) -> None:
        """Sort what was added."""
        for blocked in (*self.of.values(), *self.towards.values()):
            blocked.sort(key=BEGIN)


class Blocked:
    """The waits on one socket that its packets may end. Show it the packets in their order."""

    __slots__ = ("_active", "_coming", "_next", "_slack")

    def __init__(self, calls: list[Call], slack: int) -> None:
        self._slack = slack
        self._active: list[Call] = []
        self._coming = iter(calls)
        self._next = next(self._coming, None)

    def ended_by(self, packet: Packet) -> Call | None:
        """The wait that `packet` ended, if exactly one fits. Each wait ends once."""
        time, active, slack = packet.time, self._active, self._slack
        while self._next is not None and self._next.begin <= time + slack:
            active.append(self._next)
            self._next = next(self._coming, None)
        if not active:
            return None
        # Most often there is one wait, and it lasts: then there is nothing to sort out.
        if active[0].end < time - slack or len(active) > 1:
            active[:] = [call for call in active if call.end >= time - slack]
        fitting = [call for call in active if _ended_by(call, packet)]
        if len(fitting) > 1:
            fitting = [call for call in fitting if call.begin <= time <= call.end]
        # None, or several threads wait for the same thing: then nobody can tell which one got it.
        if len(fitting) != 1:
            return None
        active.remove(fitting[0])
        return fitting[0]


class Waker:
    """Finds which wait on another AF_UNIX socket a call ended. Ask in the order of the calls."""

    def __init__(self, waits: Waits, peers: Peers) -> None:
        self._waits = waits
        self._peers = peers
        self._done: set[int] = set()

    def ended(self, call: Call) -> Call | None:
        """The blocked call that `call` ended; None for none, or when it cannot be decided."""
        if call.socket is None or call.call not in _WAKING or not is_unix(call.socket):
            return None
        wait = self._by_call(call, call.socket)
        if wait is not None:
            self._done.add(id(wait))
        return wait

    def _by_call(self, call: Call, socket: Socket) -> Call | None:
        word = call.call
        if call.outcome != "ok":
            return None
        if word == "accept":
            blocked = self._waits.towards.get(socket.local) if socket.local else None
            return _only(self._running(blocked or [], call.begin, call.end))
        connects = word == "connect" and call.address is not None
        other = self._peers.listening(call) if connects else self._peers.receiver(call)
        if other is None:
            return None
        blocked = self._waits.of.get(other.identity) or []
        running = self._running(blocked, call.begin, call.end)
        return _only(wait for wait in running if self._fits(call, socket, wait))

    def _fits(self, call: Call, socket: Socket, wait: Call) -> bool:
        """Whether `call` can end `wait`, which is on the socket at the other end."""
        word, peers = call.call, self._peers
        if word == "connect":
            return wait.call == "accept" and wait.end == peers.given.get(socket.identity)
        if word == "send":
            return wait.call == "recv" and wait.done > 0 and call.done > 0
        if word in ("close", "exit") and call.end < peers.closed.get(socket.identity, 0):
            return False  # another process still holds the socket
        return wait.outcome in _ENDED

    def _running(self, blocked: list[Call], begin: int, end: int) -> Iterator[Call]:
        """Yield those that were blocked between `begin` and `end` and that nothing has ended yet."""
        last = bisect_right(blocked, end, key=BEGIN)
        for call in blocked[max(last - LOOK_BACK, 0) : last]:
            if call.end >= begin and id(call) not in self._done:
                yield call


def _only(calls: Iterable[Call]) -> Call | None:
    """The only one of `calls`; None if there is none or several."""
    listed = list(calls)
    return listed[0] if len(listed) == 1 else None


def _ended_by(call: Call, packet: Packet) -> bool:
    """Whether the way that the call ended fits such a packet."""
    flags, word = packet.flags, call.call
    if word == "accept":
        # Several SYNs may be under way. The accept returned the connection of this peer.
        return "S" in flags and "A" not in flags and end_of(call.address) == packet.source
    if call.outcome in _RESET:
        return "R" in flags
    if word == "connect":
        return "S" in flags and "A" in flags
    if call.outcome == "eof":
        return "F" in flags
    return word == "recv" and (packet.length > 0 or packet.protocol == "udp")
