"""Counts what the sockets of a trace did, by state and by move, in one pass over the calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sockfsm.diagrams.stages import BORN_OF_ACCEPT
from sockfsm.events import Call, Socket
from sockfsm.model.kinds import OTHER


class PathMove(NamedTuple):
    """One way in which a call ended: it led from `source` to `target`, which may be the same."""

    source: str
    target: str
    call: str
    outcome: str
    refused: bool
    explained: bool
    enforced: bool


@dataclass(slots=True)
class Waited:
    """How often a move really blocked, and for how long in all, in ns."""

    count: int = 0
    time: int = 0


@dataclass(slots=True)
class KindCounts:
    """The counts of one kind.

    visits, time: state -> how often, and how long in ns. moves: move -> how often. made: (state of the
    listening socket, state of the new one) -> how many sockets accept made.
    """

    sockets: int = 0
    calls: int = 0
    visits: Counter[str] = field(default_factory=Counter)
    time: Counter[str] = field(default_factory=Counter)
    moves: Counter[PathMove] = field(default_factory=Counter)
    waited: dict[PathMove, Waited] = field(default_factory=dict)
    made: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, move: PathMove, call: Call) -> None:
        """Count one call, which made this move."""
        self.calls += 1
        self.moves[move] += 1
        if call.waited:
            waited = self.waited.setdefault(move, Waited())
            waited.count += 1
            waited.time += call.end - call.begin

    def stayed(self, state: str) -> dict[PathMove, int]:
        """The successful calls that left `state` unchanged, with their counts."""
        return self._within(state, refused=False)

    def refused(self, state: str) -> dict[PathMove, int]:
        """The refused calls that left `state` unchanged, with their counts."""
        return self._within(state, refused=True)

    def _within(self, state: str, *, refused: bool) -> dict[PathMove, int]:
        return {
            move: count
            for move, count in self.moves.items()
            if move.refused is refused and move.source == state == move.target
        }


class _Stay:
    """The state that a socket is in, since when, and the end of its latest call."""

    __slots__ = ("counts", "last", "since", "state")

    def __init__(self, counts: KindCounts, state: str, since: int, last: int) -> None:
        counts.sockets += 1
        counts.visits[state] += 1
        self.counts = counts
        self.state = state
        self.since = since
        self.last = last

    def leave(self, state: str, time: int) -> None:
        # Calls of two threads may overlap, and a stay must not be negative.
        self.counts.time[self.state] += max(0, time - self.since)
        self.counts.visits[state] += 1
        self.state, self.since = state, max(time, self.since)


def count_by_kind(calls: Iterable[Call]) -> dict[str, KindCounts]:
    """Kind -> counts, for the kinds that have a machine, in the order in which they appear.

    A socket is in a state from the end of the call that led there (or the begin of its first call) to
    the end of the call that left it (or of its last call).
    """
    by_kind: dict[str, KindCounts] = {}
    stays: dict[Socket, _Stay] = {}
    listeners: dict[str, _Stay] = {}
    moves: dict[tuple[str, str, str, str, bool, bool, bool], PathMove] = {}
    for call in calls:
        socket, before, after = call.socket, call.before, call.after
        if socket is None or socket.kind == OTHER or not before:
            continue
        stay = stays.get(socket)
        if stay is None:
            counts = by_kind.setdefault(socket.kind, KindCounts())
            parent = listeners.get(socket.parent or "")
            if call.call == BORN_OF_ACCEPT and parent is not None:
                stays[socket] = _accepted(call, counts, parent)
                continue
            stay = stays[socket] = _Stay(counts, before, call.begin, call.end)
        # Something that was not traced has moved the socket, a child process for example.
        elif stay.state != before:
            stay.leave(before, call.begin)
        # One `PathMove` for all equal ones: a trace has millions of calls and a few dozen moves.
        way = (before, after, call.call, call.outcome, call.refused, call.explained, call.enforced)
        move = moves.get(way)
        if move is None:
            move = moves[way] = PathMove(*way)
        stay.counts.add(move, call)
        if call.call == "accept":
            listeners[socket.identity] = stay
        if before != after:
            stay.leave(after, call.end)
        stay.last = max(stay.last, call.end)
    for stay in stays.values():
        stay.counts.time[stay.state] += max(0, stay.last - stay.since)
    return by_kind


def _accepted(call: Call, counts: KindCounts, listening: _Stay) -> _Stay:
    """Count the birth of a data socket, which never was in the initial state."""
    counts.calls += 1
    counts.made[listening.state, call.after] += 1
    return _Stay(counts, call.after, call.end, call.end)
