"""Which packets of a running capture to keep, according to the call logs so far.

A copy of the capturing process imports this when the file is large enough to be thinned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

from sockfsm.events import Packet
from sockfsm.trace.causes import SLACK
from sockfsm.trace.packet_filter import PacketFilter
from sockfsm.trace.source import TraceSource
from sockfsm.trace.trace import Trace
from sockfsm.wire.headers import FrameDecoder
from sockfsm.wire.pcapng import Frame

# A younger packet (ns) is always kept: the log may not say yet whose connection it belongs to.
GRACE = 5_000_000_000
_NEVER = 1 << 63


def traced(ours: PacketFilter, clock: int) -> Callable[[Frame], bool]:
    """A test for frames of traced sockets. clock: wall minus monotonic time, ns."""
    decoder = FrameDecoder(clock)
    return lambda frame: ours.keeps(decoder.decode(frame) or decoder.quoted(frame))


def so_far(folder: str, clock: int, error: int) -> Callable[[Frame], bool]:
    """A test for frames that belong to a traced socket, or may turn out to.

    The latest frames may. So may every SYN since the oldest connect() that still blocks: its
    addresses are logged only when it returns. clock, error: wall minus monotonic time, and by how
    much that may be wrong; ns.
    """
    now = time.monotonic_ns()
    trace = Trace(Path(folder))
    ours = PacketFilter(trace.calls(), max(SLACK, error))
    since = _connecting(trace, or_else=now)
    decoder = FrameDecoder(clock)

    def wanted(frame: Frame) -> bool:
        packet = decoder.decode(frame) or decoder.quoted(frame)
        if packet is None:
            return False
        # Always ask, even for a late packet: a connection is judged by the packet that opens it.
        known = ours.keeps(packet)
        return known or packet.time > now - GRACE or ("S" in packet.flags and packet.time > since)

    return wanted


def ours(trace: TraceSource, captured: Iterator[Packet]) -> Iterator[Packet]:
    """The packets of a trace that nobody has thinned to the end: it still runs, or was interrupted."""
    filter_ = PacketFilter(trace.calls(), max(SLACK, trace.clock_error))
    since = _connecting(trace, or_else=_NEVER)
    for packet in captured:
        if filter_.keeps(packet) or ("S" in packet.flags and packet.time > since):
            yield packet


def _connecting(trace: TraceSource, or_else: int) -> int:
    """When the oldest connect() began that still blocks; `or_else` where none does."""
    blocked = [wait for wait in trace.blocked() if wait.method.startswith("connect")]
    return min(map(attrgetter("begin"), blocked), default=or_else)
