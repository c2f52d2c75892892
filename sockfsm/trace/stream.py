"""Merges calls, packets and messages into one stream, in the order of cause and effect.

`events` gives each call one place. A call that takes something (accept, recv) stands where it
returned, because what it took came before. Every other call stands where it began, because the
packets that it causes come after. One that waited and causes no packet (close with SO_LINGER, for
example) stands where it returned, too.

`spans` gives two places to a call that waited, changed its socket's state or tried to connect: where
it began and where it returned. What happened in between stands between them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from operator import attrgetter, itemgetter
from typing import NamedTuple

from sockfsm.events import Call, Message, Packet, Wait
from sockfsm.trace.source import TraceSource
from sockfsm.trace.summary import Summary
from sockfsm.trace.unix_wire import sends
from sockfsm.wire.kernel_states import KernelState

# Calls arrive in the order of their ends, and are put out in the order of their places. A call is held
# back while at most this many others arrive, which bounds the memory.
HORIZON = 4096
_TAKING = frozenset({"accept", "recv"})
_GIVING = frozenset({"connect", "send"})

BEGIN, WHOLE, END = "begin", "whole", "end"


class Mark(NamedTuple):
    """One event at its place in the stream; `time` is monotonic ns.

    phase: of a call BEGIN, END or WHOLE; other events are WHOLE. A call that never returned has only a
    BEGIN, as a `Wait`. ended: the blocked call on another AF_UNIX socket that this call ended; packets
    and messages have that themselves.
    """

    time: int
    phase: str
    event: Call | Wait | Packet | Message | KernelState
    ended: Call | None = None


def moment(call: Call) -> int:
    """Where a call with one place stands, monotonic ns."""
    if call.call in _TAKING or (call.waited and call.call not in _GIVING):
        return call.end
    return call.begin


def events(source: TraceSource) -> Iterator[Mark]:
    """Yield calls, packets and messages, each at one place. Holds at most HORIZON calls."""
    summary = source.summary(index=True)
    packets = source.packets(summary)
    return _with_messages(summary, _merged(_moments(source.calls()), packets))


def spans(source: TraceSource, kernel: Iterable[KernelState] = ()) -> Iterator[Mark]:
    """Yield the same with the kernel's states, and with two places for each call that is a span."""
    summary = source.summary(index=True)
    waits: Iterable[Call | Wait] = heapq.merge(
        summary.waits.all, summary.blocked, key=attrgetter("begin")
    )
    begins = (Mark(wait.begin, BEGIN, wait) for wait in waits)
    states = (Mark(state.time, WHOLE, state) for state in kernel)
    packets = source.packets(summary)
    return _with_messages(summary, _merged(_spans(source.calls()), packets, begins, states))


def _merged(
    calls: Iterator[Mark], packets: Iterable[Packet], *others: Iterable[Mark]
) -> Iterator[Mark]:
    """Merge by time. At equal times begins come first, then calls, packets, the kernel's states."""
    captured = (Mark(packet.time, WHOLE, packet) for packet in packets)
    # heapq.merge keeps the order of its arguments for equal times.
    first, *last = others or ((),)
    return heapq.merge(first, calls, captured, *last, key=itemgetter(0))


def _with_messages(summary: Summary, marks: Iterator[Mark]) -> Iterator[Mark]:
    """Add a message behind each call that moved bytes into an AF_UNIX socket; it has no packet."""
    waker, peers = summary.waker(), summary.peers
    for mark in marks:
        call = mark.event
        # A begin moves nothing yet.
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
    """Place each call, but not the begins of those that waited: the summary has them in order.

    A wait may be longer than any horizon.
    """

    def places(call: Call) -> tuple[Mark, ...]:
        if call.waited:
            return (Mark(call.end, END, call),)
        # Packets and the kernel's changes of state can stand within these; a short send shows
        # nothing between.
        if (call.moved and call.before) or call.call == "connect":
            return Mark(call.begin, BEGIN, call), Mark(call.end, END, call)
        return (Mark(moment(call), WHOLE, call),)

    return _sorted(map(places, calls))


def _sorted(groups: Iterable[tuple[Mark, ...]]) -> Iterator[Mark]:
    """Sort marks that arrive nearly in order."""
    waiting: list[tuple[int, int, Mark]] = []
    number = count()
    for marks in groups:
        for mark in marks:
            heapq.heappush(waiting, (mark.time, next(number), mark))
        while len(waiting) > HORIZON:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
