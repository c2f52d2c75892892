"""What the calls of a trace add to what its packets tell of a connection.

The kernel opens connections by itself while `listen` holds: that no `accept` took one is told by
calls alone. And a reset that packets leave open is one for unread data where the program had read
less than had come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sockfsm.trace.events import Call, Socket
from sockfsm.trace.index import ANY4, ANY6, end_of
from sockfsm.wire.findings import SERVER, Closing, Connection, Report

End = tuple[str, int]
_NAMED = ("connect", "accepted", "adopt", "socketpair")


class _Ends:
    """The traced ends of connections, what they read, and who listened."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.listened: dict[End, int] = {}
        self.accepted: dict[tuple[int, End], list[int]] = {}
        self.named: dict[tuple[int, End], list[tuple[int, Socket]]] = {}
        self.read: dict[str, int] = {}
        self.closed: set[str] = set()
        for call in calls:
            if call.socket is not None and call.socket.kind == "tcp":
                self._add(call, call.socket)

    def _add(self, call: Call, socket: Socket) -> None:
        word = call.call
        if word == "recv":
            self.read[socket.identity] = self.read.get(socket.identity, 0) + call.done
        elif word == "close" and call.outcome == "ok":
            self.closed.add(socket.identity)
        elif word == "listen" and call.outcome == "ok":
            if local := end_of(socket.local):
                self.listened.setdefault(local, call.begin)
        elif word in _NAMED:
            self._name(call, socket)

    def _name(self, call: Call, socket: Socket) -> None:
        local, remote = end_of(socket.local), end_of(socket.remote)
        if local and remote:
            self.named.setdefault((local[1], remote), []).append((call.end, socket))
            if call.call == "accepted":
                self.accepted.setdefault((local[1], remote), []).append(call.end)

    def not_accepted(self, connection: Connection) -> bool:
        """Whether a traced socket listened for the connection, and no traced `accept` gave it."""
        host, port = connection.server
        begun = [
            self.listened[name, port]
            for name in (host, ANY4, ANY6)
            if (name, port) in self.listened
        ]
        if not begun or min(begun) > connection.begin:
            return False
        taken = self.accepted.get((port, connection.client), ())
        return not any(time >= connection.begin for time in taken)

    def socket(self, connection: Connection, who: str) -> Socket | None:
        """The traced socket that was that end of the connection."""
        near, far = connection.client, connection.server
        if who == SERVER:
            near, far = far, near
        later = [s for time, s in self.named.get((near[1], far), ()) if time >= connection.begin]
        return later[0] if later else None


def with_calls(report: Report, calls: Iterable[Call]) -> Report:
    """The report, with what the calls tell of openings and resets."""
    ends = _Ends(calls)
    return replace(report, connections=tuple(_told(found, ends) for found in report.connections))


def _told(connection: Connection, ends: _Ends) -> Connection:
    if connection.opening.kind != "normal":
        return connection
    opening, closing = connection.opening, connection.closing
    if ends.not_accepted(connection):
        opening = replace(opening, kind="not accepted")
        if closing.reset_by == SERVER:
            closing = replace(closing, reset_cause="the listening socket was closed before accept")
    elif "SO_LINGER" in closing.reset_cause:
        closing = _why(connection, closing, ends)
    return replace(connection, opening=opening, closing=closing)


def _why(connection: Connection, closing: Closing, ends: _Ends) -> Closing:
    assert closing.reset_by is not None
    socket = ends.socket(connection, closing.reset_by)
    if socket is None:
        return closing
    came = connection.sent if closing.reset_by == SERVER else connection.received
    unread = came.bytes - ends.read.get(socket.identity, 0)
    how = "closed" if socket.identity in ends.closed else "its process ended"
    if unread > 0:
        cause = f"{how} with {unread} received bytes unread"
    else:
        cause = f"{how} with SO_LINGER 0: nothing was left unread"
    return replace(closing, reset_cause=cause)
