"""The wire that AF_UNIX sockets do not have: whom a message goes to, by the calls of both ends.

No packet exists. An end that is not traced has no calls: then it is not known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import itemgetter

from sockfsm.trace.events import Address, Call, Socket

_TELLING = frozenset({"bind", "connect", "accepted", "socketpair"})
ENDING = frozenset({"close", "shutdown_wr", "shutdown_rdwr", "exit"})


def sends(call: Call) -> bool:
    """Whether the call moved bytes into an AF_UNIX socket."""
    socket = call.socket
    return call.call == "send" and call.done > 0 and socket is not None and is_unix(socket)


def is_unix(socket: Socket) -> bool:
    """Whether no packet ever shows what the socket sends."""
    return socket.kind.startswith("unix")


class Peers:
    """Which AF_UNIX sockets are each other's ends; keeps the calls that tell it, no others."""

    def __init__(self) -> None:
        self.of: dict[str, Socket] = {}
        self.given: dict[str, int] = {}  # a client's identity -> when accept gave its other end
        self.closed: dict[str, int] = {}  # identity -> end of the last call that closed it
        self._calls: list[Call] = []
        self._since: dict[Address, list[tuple[int, Socket]]] = {}

    def add(self, call: Call) -> None:
        """Take in one call; `finish` after the last one."""
        word, socket = call.call, call.socket
        if socket is None or not is_unix(socket):
            return
        if word in _TELLING:
            self._calls.append(call)
        elif word in ENDING:
            self.closed[socket.identity] = call.end

    def receiver(self, call: Call) -> Socket | None:
        """The socket that a send goes to."""
        assert call.socket is not None
        found = self.of.get(call.socket.identity)
        if found is None and call.address is not None:
            found = self._holder(call.address, call.end)
        return found

    def listening(self, call: Call) -> Socket | None:
        """The socket that a connect goes to."""
        return self._holder(call.address, call.end) if call.address is not None else None

    def _holder(self, name: Address, time: int) -> Socket | None:
        """The socket that had bound `name` last before `time`."""
        entries = self._since.get(name, [])
        place = bisect_right(entries, time, key=itemgetter(0))
        return entries[place - 1][1] if place else None

    def finish(self) -> None:
        """Find the pairs in what was added."""
        peers, calls = self.of, self._calls
        for call in calls:
            if call.call == "bind" and call.outcome == "ok" and call.address and call.socket:
                self._since.setdefault(call.address, []).append((call.end, call.socket))
        waiting: dict[Address, deque[Socket]] = {}
        alone: Socket | None = None
        for call in sorted(calls, key=lambda call: call.begin):
            socket = call.socket
            if socket is None:
                continue
            if call.call == "socketpair":
                if alone is None:
                    alone = socket
                elif alone is not socket:
                    peers[alone.identity], peers[socket.identity] = socket, alone
                    alone = None
            elif call.call == "connect" and call.outcome == "ok" and call.address is not None:
                if socket.kind == "unix-stream":
                    waiting.setdefault(call.address, deque()).append(socket)
                else:
                    other = self._holder(call.address, call.end)
                    if other is not None:
                        peers[socket.identity] = other
        # A listener's queue is first in, first out: the n-th accept takes the n-th connect.
        for call in sorted(calls, key=lambda call: call.end):
            socket = call.socket
            if call.call != "accepted" or socket is None or socket.local is None:
                continue
            queue = waiting.get(socket.local)
            if queue:
                client = queue.popleft()
                peers[client.identity], peers[socket.identity] = socket, client
                self.given[client.identity] = call.begin
        self._calls = []
