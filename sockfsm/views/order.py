"""One line of time for calls and packets, in the order of cause and effect.

A call that takes (accept, recv) stands where it returned: what it took came before that. Every other
call stands where it began, because the packets that it causes come after that; one that waited and
caused none (close with SO_LINGER, for example) stands where it returned, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count

from sockfsm.trace.events import Call, Packet

# Calls arrive by their end; one that began long before the others' is held back this many calls.
HORIZON = 4096
_TAKING = frozenset({"accept", "recv"})
_GIVING = frozenset({"connect", "send"})


def moment(event: Call | Packet) -> int:
    """Where `event` stands on the timeline, monotonic ns."""
    if isinstance(event, Packet):
        return event.time
    if event.call in _TAKING or (event.waited and event.call not in _GIVING):
        return event.end
    return event.begin


def ordered(calls: Iterable[Call], packets: Iterable[Packet]) -> Iterator[Call | Packet]:
    """Calls (given by end) and packets (by time), by `moment`; holds HORIZON calls at most."""
    merged: Iterator[Call | Packet] = heapq.merge(_by_moment(calls), packets, key=moment)
    return merged


def _by_moment(calls: Iterable[Call]) -> Iterator[Call]:
    waiting: list[tuple[int, int, Call]] = []
    number = count()
    for call in calls:
        heapq.heappush(waiting, (moment(call), next(number), call))
        if len(waiting) > HORIZON:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
