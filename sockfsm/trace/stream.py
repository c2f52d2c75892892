"""One line of time for calls, packets and messages, in the order of cause and effect.

A call that takes (accept, recv) stands where it returned: what it took came before that. Every other
call stands where it began, because the packets that it causes come after that; one that waited and
caused none (close with SO_LINGER, for example) stands where it returned, too.

Where a view draws spans, a call has two places: one that waited, changed its socket's state or tried
to connect begins and returns, and what happened meanwhile stands between.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from operator import attrgetter, itemgetter
from typing import NamedTuple

from sockfsm.trace.events import Call, Message, Packet, Wait
from sockfsm.trace.source import TraceSource
from sockfsm.trace.unix_wire import sends
from sockfsm.wire.kernel_states import KernelState

# Calls arrive by their end; one that began long before the others' is held back this many calls.
HORIZON = 4096
_TAKING = frozenset({"accept", "recv"})
_GIVING = frozenset({"connect", "send"})

BEGIN, WHOLE, END = "begin", "whole", "end"


class Mark(NamedTuple):
    """What stands at `time` (monotonic ns).

    phase: of a call BEGIN, END or WHOLE; one that never returned has a BEGIN only, a `Wait`. What is
    no call is WHOLE. ended: the blocked call of another AF_UNIX socket that waited for this call; of a
    packet or message, it has that itself.
    """

    time: int
    phase: str
    event: Call | Wait | Packet | Message | KernelState
    ended: Call | None = None


def moment(call: Call) -> int:
    """Where a call stands that has one place, monotonic ns."""
    if call.call in _TAKING or (call.waited and call.call not in _GIVING):
        return call.end
    return call.begin


def events(source: TraceSource) -> Iterator[Mark]:
    """Calls, packets and messages, each at one place; holds HORIZON calls at most."""
    return _with_messages(source, _merged(_moments(source.calls()), source.packets()))


def spans(source: TraceSource, kernel: Iterable[KernelState] = ()) -> Iterator[Mark]:
    """The same with the kernel's states, and with two places for each call that is a span."""
    summary = source.summary(index=True)
    waits: Iterable[Call | Wait] = heapq.merge(
        summary.waits.all, summary.blocked, key=attrgetter("begin")
    )
    begins = (Mark(wait.begin, BEGIN, wait) for wait in waits)
    states = (Mark(state.time, WHOLE, state) for state in kernel)
    return _with_messages(source, _merged(_spans(source.calls()), source.packets(), begins, states))


def _merged(
    calls: Iterator[Mark], packets: Iterable[Packet], *others: Iterable[Mark]
) -> Iterator[Mark]:
    """By time; where times are equal, begins come first, then calls, packets, the kernel's states."""
    captured = (Mark(packet.time, WHOLE, packet) for packet in packets)
    first, *last = others or ((),)
    return heapq.merge(first, calls, captured, *last, key=itemgetter(0))


def _with_messages(source: TraceSource, marks: Iterator[Mark]) -> Iterator[Mark]:
    """Behind each call that moved bytes into an AF_UNIX socket the message: no packet shows it."""
    summary = source.summary(index=True)
    waker, peers = summary.waker(), summary.peers
    for mark in marks:
        call = mark.event
        if mark.phase == BEGIN or not isinstance(call, Call):
            yield mark
            continue
        ended = waker.ended(call)
        yield mark if ended is None else mark._replace(ended=ended)
        if sends(call) and call.socket is not None:
            receiver = peers.receiver(call)
            yield Mark(mark.time, WHOLE, Message(call, call.socket, receiver, call.done, ended))


def _moments(calls: Iterable[Call]) -> Iterator[Mark]:
    return _sorted((Mark(moment(call), WHOLE, call),) for call in calls)


def _spans(calls: Iterable[Call]) -> Iterator[Mark]:
    """Where each call stands, without the begins of those that waited."""

    def places(call: Call) -> tuple[Mark, ...]:
        if call.waited:
            return (Mark(call.end, END, call),)
        if (call.moved and call.before) or call.call == "connect":
            return Mark(call.begin, BEGIN, call), Mark(call.end, END, call)
        return (Mark(moment(call), WHOLE, call),)

    return _sorted(map(places, calls))


def _sorted(groups: Iterable[tuple[Mark, ...]]) -> Iterator[Mark]:
    """The marks by their time; they arrive nearly in order."""
    waiting: list[tuple[int, int, Mark]] = []
    number = count()
    for marks in groups:
        for mark in marks:
            heapq.heappush(waiting, (mark.time, next(number), mark))
        while len(waiting) > HORIZON:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
