"""The totals of a timeline, counted while the events pass, so that none is held in memory."""

from __future__ import annotations

from sockfsm.events import Call, Message, Packet
from sockfsm.trace.verdict import out_of_order

CLOSED = "CLOSED"
"""The last state of a socket that the program closed."""
EXITED = "EXITED"
"""The last state of one that was still open when its process ended."""
DETACHED = "DETACHED"
"""The last state of a socket whose descriptor `detach` handed to somebody else."""


class Totals:
    """The totals of the events that were added.

    refused: how many calls ended with an errno. refusals, failures: (method, state, name of the errno)
    -> how often; refusals for calls that the state forbids, failures for those that failed because of
    their surroundings. sockets: the identities that appeared, in order. waits, blocked: how many calls
    blocked, and how long, in ns, summed over all threads. sent, received: bytes.
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
