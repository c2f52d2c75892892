"""Selects a part of a trace: by socket, port, thread or time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sockfsm.errors import UsageError
from sockfsm.events import Call, Message, Packet, Socket, Wait
from sockfsm.trace.directory import end_of
from sockfsm.views.lanes import Lanes
from sockfsm.views.text import plain
from sockfsm.wire.kernel_states import KernelState

Event = Call | Wait | Packet | Message | KernelState

_SPAN = re.compile(r"^\+?(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*(ns|us|ms|s|)$")
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "": 1_000_000_000}


def parse_span(text: str) -> int:
    """Parse a duration such as `1.5`, `1.5s`, `20ms` or `300us`; returns ns. UsageError for others."""
    match = _SPAN.match(text.strip())
    if match is None:
        raise UsageError(f"{plain(text)!r} is no time: write seconds (1.5) or 20ms or 300us")
    number, unit = match.groups()
    return round(float(number) * _UNITS[unit])


@dataclass(frozen=True)
class Selection:
    """What to show; None stands for everything.

    sockets: identities. threads: (pid, number); packets are shown if a call of these threads caused
    them. ports: of either end. since, until: ns after the trace began.
    """

    sockets: frozenset[str] | None = None
    threads: frozenset[tuple[int, int]] | None = None
    ports: frozenset[int] | None = None
    since: int | None = None
    until: int | None = None

    def takes(
        self, event: Event, time: int, lanes: Lanes, zero: int, owner: Socket | None = None
    ) -> bool:
        """Whether to show `event`. time: its place, and zero: the trace's start, both monotonic ns.

        owner: for a state of the kernel, the socket that it belongs to.
        """
        if self.since is not None and time - zero < self.since:
            return False
        if self.until is not None and time - zero > self.until:
            return False
        if self.threads is not None and _thread(event) not in self.threads:
            return False
        sockets = [owner] if isinstance(event, KernelState) else [event.socket]
        if isinstance(event, Packet | Message):
            sockets.append(event.receiver)
        if self.ports is not None and self.ports.isdisjoint(_ports(event, lanes, sockets)):
            return False
        if self.sockets is None:
            return True
        return any(socket and socket.identity in self.sockets for socket in sockets)


def _thread(event: Event) -> tuple[int, int] | None:
    """(pid, number) of the thread that made the call, or whose call caused the packet."""
    if isinstance(event, Wait):
        return (event.socket.process.pid, event.thread.number) if event.socket else None
    if isinstance(event, KernelState):
        return None
    call = event if isinstance(event, Call) else event.call
    return (call.process.pid, call.thread.number) if call is not None else None


def _ports(event: Event, lanes: Lanes, sockets: list[Socket | None]) -> set[int]:
    """Every port that the event is about."""
    if isinstance(event, Packet | KernelState):
        return {event.source[1], event.target[1]}
    names = [event.address] if isinstance(event, Call) else []
    for socket in sockets:
        # The summary knows addresses that the socket got only later.
        known = lanes.sockets.get(socket.identity, socket) if socket is not None else None
        if known is not None:
            names += (known.local, known.remote)
    return {end[1] for end in map(end_of, names) if end is not None}
