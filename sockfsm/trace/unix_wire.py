"""Which AF_UNIX socket a message goes to, worked out from the calls of both ends.

AF_UNIX sockets send no packets. An end that is not traced has no calls either, so it stays unknown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import itemgetter

from sockfsm.events import Address, Call, Socket

_NAMING = frozenset({"bind", "connect", "accepted", "socketpair"})
ENDING = frozenset({"close", "shutdown_wr", "shutdown_rdwr", "exit"})


def sends(call: Call) -> bool:
    """Whether the call moved bytes into an AF_UNIX socket."""
    socket = call.socket
    return call.call == "send" and call.done > 0 and socket is not None and is_unix(socket)


def is_unix(socket: Socket) -> bool:
    """Whether it is an AF_UNIX socket, whose data no packet shows."""
    return socket.kind.startswith("unix")


class Peers:
    """Which AF_UNIX sockets are connected to each other.

    of: identity -> the socket at the other end. given: a client's identity -> when accept returned its
    peer. closed: identity -> end of the last call that closed it.
    """

    def __init__(self) -> None:
        self.of: dict[str, Socket] = {}
        self.given: dict[str, int] = {}
        self.closed: dict[str, int] = {}
        self._calls: list[Call] = []
        self._since: dict[Address, list[tuple[int, Socket]]] = {}
        # A datagram socket may connect again: identity -> since when, to which socket.
        self._turned: dict[str, list[tuple[int, Socket]]] = {}

    def add(self, call: Call) -> None:
        """Add one call; `finish` after the last one."""
        word, socket = call.call, call.socket
        if socket is None or not is_unix(socket):
            return
        if word in _NAMING:
            self._calls.append(call)
        elif word in ENDING:
            self.closed[socket.identity] = call.end

    def receiver(self, call: Call) -> Socket | None:
        """The socket that a send goes to; None where it is not traced."""
        assert call.socket is not None
        if call.address is not None:
            return self._holder(call.address, call.end)
        turned = self._turned.get(call.socket.identity)
        if turned is None:
            return self.of.get(call.socket.identity)
        return _last(turned, call.end)

    def listening(self, call: Call) -> Socket | None:
        """The listening socket that a connect goes to; None where it is not traced."""
        return self._holder(call.address, call.end) if call.address is not None else None

    def _holder(self, name: Address, time: int) -> Socket | None:
        """The last socket that bound `name` before `time`."""
        return _last(self._since.get(name, []), time)

    def finish(self) -> None:
        """Find the pairs among the calls that were added."""
        calls, self._calls = self._calls, []
        for call, socket in _of(calls, "bind"):
            if call.outcome == "ok" and call.address:
                self._since.setdefault(call.address, []).append((call.end, socket))
        self._socketpairs(calls)
        self._connections(calls)

    def _socketpairs(self, calls: list[Call]) -> None:
        """Pair the two sockets of each socketpair(): it is logged as two calls in a row."""
        alone: Socket | None = None
        for _, socket in _of(calls, "socketpair"):
            if alone is None:
                alone = socket
            elif alone is not socket:
                self._pair(alone, socket)
                alone = None

    def _connections(self, calls: list[Call]) -> None:
        """Pair the n-th accept with the n-th connect: a listener's queue is first in, first out."""
        waiting: dict[Address, deque[Socket]] = {}
        for call, socket in _of(calls, "connect"):
            if call.outcome != "ok" or call.address is None:
                continue
            if socket.kind == "unix-stream":
                waiting.setdefault(call.address, deque()).append(socket)
            elif (other := self._holder(call.address, call.end)) is not None:
                # Datagram sockets need no accept, and the peer is not connected back.
                self.of[socket.identity] = other
                self._turned.setdefault(socket.identity, []).append((call.end, other))
        for call, socket in sorted(_of(calls, "accepted"), key=lambda pair: pair[0].end):
            queue = waiting.get(socket.local) if socket.local is not None else None
            if queue:
                client = queue.popleft()
                self._pair(client, socket)
                self.given[client.identity] = call.begin

    def _pair(self, one: Socket, other: Socket) -> None:
        self.of[one.identity], self.of[other.identity] = other, one


def _last(entries: list[tuple[int, Socket]], time: int) -> Socket | None:
    """The socket of the last entry before `time`; the entries are in order."""
    place = bisect_right(entries, time, key=itemgetter(0))
    return entries[place - 1][1] if place else None


def _of(calls: list[Call], word: str) -> list[tuple[Call, Socket]]:
    """The calls with this word and their sockets, by their begins."""
    pairs = [(c, c.socket) for c in calls if c.call == word and c.socket is not None]
    return sorted(pairs, key=lambda pair: pair[0].begin)
