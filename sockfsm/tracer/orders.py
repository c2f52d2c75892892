"""The orders in which calls of several threads may have come, where they overlapped.

The kernel does them one after the other, in an order that nobody outside sees. Every order that fits
the clocks, the outcomes and the machine is possible: the socket may be wherever one of them leads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sockfsm.model.compiled import joined
from sockfsm.record.layout import METHODS, NUMBER, UNEXPLAINED
from sockfsm.tracer.rows import Move, Row, step

_MOST = 5
"""So many overlapping moves are tried in every order; those before them are in the log's."""
_KEPT = 8
_CONNECTS = NUMBER["connect"], NUMBER["connect_ex"]
_SO_ERROR = NUMBER["getsockopt(SO_ERROR)"]


class _Step(NamedTuple):
    """One thing that the kernel does. after: the place of the one that comes before it, or -1.

    optional: a call is under way, and may have done it or not.
    """

    begin: int
    end: int
    ways: tuple[tuple[int, str, str], ...]
    after: int = -1
    optional: bool = False


def overlapped(moves: tuple[Move, ...], begin: int) -> tuple[Move, ...]:
    """The last of `moves`, those that a call from `begin` on overlaps, and what these overlap."""
    first = len(moves)
    while first and moves[first - 1].end > begin and len(moves) - first < _MOST:
        first -= 1
        begin = min(begin, moves[first].begin)
    return moves[first:]


def kept(moves: tuple[Move, ...], move: Move) -> tuple[Move, ...]:
    """`moves` with one more, the oldest forgotten."""
    return (*moves[-_KEPT:], move)


def orders(others: tuple[Move, ...], mine: Move, flying: tuple[Move, ...] = ()) -> Row | None:
    """Where `mine` may have led among the others, None where no order explains it.

    others: moves that it overlaps, the first one's `before` is where all began. flying: calls under
    way, of which nobody knows yet what they did.
    """
    start = others[0].before if others else mine.before
    # Of connect() the kernel may have done the first half before, and the rest after another call.
    halves = [i for i, move in enumerate((*others, mine)) if _halved(move)]
    found: list[str] = []
    for chosen in _subsets(halves):
        steps: list[_Step] = []
        for index, move in enumerate((*others, mine)):
            steps += _steps(move, index in chosen, len(steps))
        for move in flying:
            steps += _under_way(move, start, len(steps))
        found += _lead(start, steps)
    states = joined(state for row in found for state in row.split("|"))
    return None if states is None else start.kind.among(states)


def _subsets(items: list[int]) -> Iterator[frozenset[int]]:
    for bits in range(1 << len(items)):
        yield frozenset(item for i, item in enumerate(items) if bits >> i & 1)


def _halved(move: Move) -> bool:
    return move.method in _CONNECTS and not move.variant.startswith("nonblocking")


def _steps(move: Move, halved: bool, place: int) -> list[_Step]:
    method, outcome = move.method, move.outcome
    if not halved:
        return [_Step(move.begin, move.end, ((method, outcome, move.variant),))]
    begun = _Step(move.begin, move.end, ((method, "EINPROGRESS", "nonblocking"),))
    ways = tuple(
        (number, outcome, mode)
        for number in (method, _SO_ERROR)
        for mode in ("nonblocking", "blocking")
    )
    return [begun, _Step(move.begin, move.end, ways, place)]


def _under_way(move: Move, start: Row, place: int) -> list[_Step]:
    """What a call that has not ended may have done by now."""
    outcomes = start.kind.stepping.moving(METHODS[move.method][1])
    ways = tuple((move.method, outcome, move.variant) for outcome in outcomes)
    whole = _Step(move.begin, _LATER, ways, -1, True)
    if not _halved(move):
        return [whole]
    begun = _Step(move.begin, _LATER, ((move.method, "EINPROGRESS", "nonblocking"),), -1, True)
    ends = tuple((_SO_ERROR, outcome, "nonblocking") for outcome in outcomes)
    return [begun, _Step(move.begin, _LATER, ends, place, True), whole]


_LATER = 1 << 63


def _lead(start: Row, steps: list[_Step]) -> list[str]:
    """Where the steps lead from `start`, in any order that agrees with the clocks."""
    needed = sum(1 << i for i, each in enumerate(steps) if not each.optional)
    reached: dict[int, list[str]] = {0: [start.states]}
    found: list[str] = []
    for done in range(1 << len(steps)):
        rows = reached.get(done)
        if rows is None:
            continue
        if done & needed == needed:
            found += rows
        states = joined(state for row in rows for state in row.split("|"))
        assert states is not None
        row = start.kind.among(states)
        left = [i for i in range(len(steps)) if not done >> i & 1]
        # What ended before another one began was done before it.
        last = min((steps[i].end for i in left if not steps[i].optional), default=_LATER)
        for i in left:
            each = steps[i]
            if each.begin > last or (each.after >= 0 and not done >> each.after & 1):
                continue
            for way in each.ways:
                bits, after = step(row, *way)
                if not bits & UNEXPLAINED:
                    reached.setdefault(done | 1 << i, []).append(after.states)
    return found
