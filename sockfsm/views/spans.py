"""One line of time on which a call may have two places: where it begins, and where it returns.

A call that waited, or that changed its socket's state, is such a span: what happened meanwhile
stands between. Every other call has one place (`views.order`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from operator import itemgetter
from typing import NamedTuple

from sockfsm.trace.events import Call, Packet, Wait
from sockfsm.views.order import HORIZON, moment
from sockfsm.wire.kernel_states import KernelState

BEGIN, WHOLE, END, PACKET, KERNEL = "begin", "whole", "end", "packet", "kernel"


class Mark(NamedTuple):
    """What stands at `time` (monotonic ns). A call that never returned has a BEGIN only, a `Wait`."""

    time: int
    phase: str
    event: Call | Wait | Packet | KernelState


def marks(
    calls: Iterable[Call],
    packets: Iterable[Packet],
    waited: Iterable[Call | Wait] = (),
    kernel: Iterable[KernelState] = (),
) -> Iterator[Mark]:
    """All marks by their time; holds the waits and at most HORIZON calls.

    calls: in the order of their ends. waited: calls among them that may have begun long before they
    ended, and those that never did; sorted here.
    """
    long = sorted(waited, key=lambda event: event.begin)
    known = {_key(event) for event in long if isinstance(event, Call)}
    return heapq.merge(
        (Mark(event.begin, BEGIN, event) for event in long),
        _by_time(calls, known),
        (Mark(packet.time, PACKET, packet) for packet in packets),
        (Mark(state.time, KERNEL, state) for state in kernel),
        key=itemgetter(0),
    )


def _key(call: Call) -> tuple[str, int, int]:
    return call.process.log, call.thread.number, call.begin


def _by_time(calls: Iterable[Call], known: set[tuple[str, int, int]]) -> Iterator[Mark]:
    waiting: list[tuple[int, int, Mark]] = []
    number = count()

    def add(time: int, phase: str, call: Call) -> None:
        heapq.heappush(waiting, (time, next(number), Mark(time, phase, call)))

    for call in calls:
        if call.waited or (call.moved and call.before):
            if not call.waited or _key(call) not in known:
                add(call.begin, BEGIN, call)
            add(call.end, END, call)
        else:
            add(moment(call), WHOLE, call)
        while len(waiting) > HORIZON:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
