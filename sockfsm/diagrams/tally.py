"""What a trace's sockets did, counted by state and by move in one pass over the calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sockfsm.diagrams.stages import BORN_OF_ACCEPT
from sockfsm.model.kinds import OTHER
from sockfsm.trace.events import Call, Socket


class Move(NamedTuple):
    """A way a call ended: in `source`, with `outcome`, leading to `target` (perhaps the same)."""

    source: str
    target: str
    call: str
    outcome: str
    refused: bool
    explained: bool
    enforced: bool


@dataclass(slots=True)
class Waited:
    """How often a move really blocked, and for how long, in ns."""

    count: int = 0
    time: int = 0


@dataclass(slots=True)
class Tally:
    """A kind's counts: sockets, visits and time (ns) by state, calls by move, accepted sockets."""

    sockets: int = 0
    calls: int = 0
    visits: Counter[str] = field(default_factory=Counter)
    time: Counter[str] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)
    waited: dict[Move, Waited] = field(default_factory=dict)
    made: Counter[tuple[str, str]] = field(default_factory=Counter)

    def stayed(self, state: str) -> dict[Move, int]:
        """The calls that were taken in `state` and left it as it was, with their counts."""
        return self._within(state, refused=False)

    def refused(self, state: str) -> dict[Move, int]:
        """The refused calls that left `state` as it was, with their counts."""
        return self._within(state, refused=True)

    def _within(self, state: str, *, refused: bool) -> dict[Move, int]:
        return {
            move: count
            for move, count in self.moves.items()
            if move.refused is refused and move.source == state == move.target
        }


@dataclass(slots=True)
class _Stay:
    state: str
    since: int
    last: int


def tally(calls: Iterable[Call]) -> dict[str, Tally]:
    """Kind -> counts, for the kinds that have a machine, in the order they appear.

    A socket's time in a state runs from the end of the call that led there (or its first call's
    begin) to the end of the one that left it (or its last call).
    """
    found: dict[str, Tally] = {}
    stays: dict[Socket, _Stay] = {}
    listeners: dict[str, _Stay] = {}
    for call in calls:
        socket = call.socket
        if socket is None or socket.kind == OTHER or not call.before:
            continue
        counts = found.setdefault(socket.kind, Tally())
        counts.calls += 1
        stay = stays.get(socket)
        if stay is None:
            counts.sockets += 1
            parent = listeners.get(socket.parent or "")
            made = call.call == BORN_OF_ACCEPT and parent is not None
            begun = call.after if made else call.before
            stay = stays[socket] = _Stay(begun, call.end if made else call.begin, call.end)
            counts.visits[begun] += 1
            if made and parent is not None:
                # It never was in the initial state: accept made it as it is.
                counts.made[parent.state, begun] += 1
                continue
        elif stay.state != call.before:
            _leave(counts, stay, call.before, call.begin)
        move = Move(
            call.before,
            call.after,
            call.call,
            call.outcome,
            call.refused,
            call.explained,
            call.enforced,
        )
        counts.moves[move] += 1
        if call.waited:
            waited = counts.waited.setdefault(move, Waited())
            waited.count += 1
            waited.time += call.end - call.begin
        if call.call == "accept":
            listeners[socket.identity] = stay
        if call.moved:
            _leave(counts, stay, call.after, call.end)
        stay.last = max(stay.last, call.end)
    for socket, stay in stays.items():
        found[socket.kind].time[stay.state] += max(0, stay.last - stay.since)
    return found


def _leave(counts: Tally, stay: _Stay, state: str, time: int) -> None:
    # Calls of two threads may overlap; a stay is never negative.
    counts.time[stay.state] += max(0, time - stay.since)
    counts.visits[state] += 1
    stay.state, stay.since = state, max(time, stay.since)
