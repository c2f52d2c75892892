"""One line of time on which a call may have two places: where it begins, and where it returns.

A call that waited, that changed its socket's state or tried to connect is such a span: what happened
meanwhile stands between. Every other call has one place (`views.order`).
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
    """All marks by their time; holds at most HORIZON calls.

    calls: in the order of their ends. waited: by their begins, those of them that waited and may
    have begun long before they ended, and those that never did.
    """
    return heapq.merge(
        (Mark(event.begin, BEGIN, event) for event in waited),
        _by_time(calls),
        (Mark(packet.time, PACKET, packet) for packet in packets),
        (Mark(state.time, KERNEL, state) for state in kernel),
        key=itemgetter(0),
    )


def _by_time(calls: Iterable[Call]) -> Iterator[Mark]:
    """Where each call stands, without the begins of those that waited."""
    waiting: list[tuple[int, int, Mark]] = []
    number = count()

    def add(time: int, phase: str, call: Call) -> None:
        heapq.heappush(waiting, (time, next(number), Mark(time, phase, call)))

    for call in calls:
        if call.waited:
            add(call.end, END, call)
        elif (call.moved and call.before) or call.call == "connect":
            add(call.begin, BEGIN, call)
            add(call.end, END, call)
        else:
            add(moment(call), WHOLE, call)
        while len(waiting) > HORIZON:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
