"""What a trace amounts to: counted while it passes, so that nothing is held in memory."""

from __future__ import annotations

from sockfsm.trace.events import Call, Message, Packet
from sockfsm.trace.verdict import out_of_order

CLOSED = "CLOSED"
"""The last state of a socket that the program closed."""
EXITED = "EXITED"
"""The last state of one that was still open when its process ended."""
ENDED = frozenset({CLOSED, "DETACHED", EXITED})
"""Last states of a socket that is none any more."""


class Tally:
    """Counts over the events that were added.

    refused: calls that ended with an errno. refusals, failures: the same as (method, state, errno
    name) -> how often, by whether the state or the world around the socket was the reason.
    sockets: identities of the sockets that came up. blocked: ns spent in waits, added over all
    threads. sent, received: bytes.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.packets = 0
        self.refused = 0
        self.unexplained = 0
        self.waits = 0
        self.blocked = 0
        self.sent = 0
        self.received = 0
        self.sockets: dict[str, None] = {}
        self.refusals: dict[tuple[str, str, str], int] = {}
        self.failures: dict[tuple[str, str, str], int] = {}

    def add(self, event: Call | Packet | Message) -> None:
        """Count one event; a message is counted with its call."""
        if not isinstance(event, Call):
            self.packets += isinstance(event, Packet)
            return
        self.calls += 1
        if event.waited:
            self.waits += 1
            self.blocked += event.end - event.begin
        if event.call == "send":
            self.sent += max(event.done, 0)
        elif event.call == "recv":
            self.received += max(event.done, 0)
        if event.refused:
            self.refused += 1
            key = (event.method, event.before, event.outcome)
            counts = self.refusals if out_of_order(event) else self.failures
            counts[key] = counts.get(key, 0) + 1
        if not event.explained:
            self.unexplained += 1
        if event.socket is not None:
            self.sockets[event.socket.identity] = None
