"""Which part of a trace is shown: by socket, by thread, by time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sockfsm.errors import UsageError
from sockfsm.trace.events import Call, Packet, Socket
from sockfsm.views.lanes import Lanes
from sockfsm.views.order import moment
from sockfsm.views.text import plain

_SPAN = re.compile(r"^\+?(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|ms|s|)$")
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "": 1_000_000_000}


def parse_span(text: str) -> int:
    """`1.5`, `1.5s`, `20ms` or `300us` in ns. UsageError for anything else."""
    match = _SPAN.match(text.strip())
    if match is None:
        raise UsageError(f"{plain(text)!r} is no time: write seconds (1.5) or 20ms or 300us")
    number, unit = match.groups()
    return round(float(number) * _UNITS[unit])


@dataclass(frozen=True)
class Selection:
    """What to show; None takes everything. since, until: ns after the trace's start.

    With `threads` the packets shown are those that a call of these threads caused.
    """

    sockets: frozenset[str] | None = None
    threads: frozenset[tuple[int, int]] | None = None
    since: int | None = None
    until: int | None = None

    def takes(
        self, event: Call | Packet, lanes: Lanes, zero: int, receiver: Socket | None = None
    ) -> bool:
        """Whether `event` is to be shown, `zero` the monotonic ns of the trace's start.

        receiver: of the message that a call sends, when that is the question.
        """
        offset = moment(event) - zero
        if self.since is not None and offset < self.since:
            return False
        if self.until is not None and offset > self.until:
            return False
        if self.threads is not None:
            call = event.call if isinstance(event, Packet) else event
            if call is None or (call.process.pid, call.thread.number) not in self.threads:
                return False
        if self.sockets is None:
            return True
        if event.socket is not None and event.socket.identity in self.sockets:
            return True
        if isinstance(event, Packet):
            receiver = lanes.receiver(event)
        return receiver is not None and receiver.identity in self.sockets
