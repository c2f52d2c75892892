"""The TCP states of both ends, segment by segment, for whoever reads packets in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from sockfsm.trace.events import Packet
from sockfsm.trace.tcp_path import Step, walk
from sockfsm.wire.findings import Connection

_End = tuple[str, int]


class TcpStates:
    """Asked packet by packet. A connection's machines run when its first packet comes."""

    def __init__(self, connections: Iterable[Connection] = ()) -> None:
        self._waiting: dict[frozenset[_End], deque[Connection]] = {}
        self._running: dict[frozenset[_End], _Steps] = {}
        for connection in connections:
            ends = frozenset((connection.client, connection.server))
            self._waiting.setdefault(ends, deque()).append(connection)

    def step(self, packet: Packet) -> Step | None:
        """What `packet` did to both ends; None for one that belongs to neither opening nor closing."""
        ends = frozenset((packet.source, packet.target))
        steps = self._running.get(ends)
        step = steps.take(packet) if steps is not None else None
        if step is None and ends in self._waiting:
            following = _Steps(self._waiting[ends][0])
            step = following.take(packet)
            if step is not None:
                self._running[ends] = following
                self._waiting[ends].popleft()
                if not self._waiting[ends]:
                    del self._waiting[ends]
        return step


class _Steps:
    """What is left of one connection's steps."""

    def __init__(self, connection: Connection) -> None:
        self._left: Iterator[Step] = iter(walk(connection).steps)
        self._next = next(self._left, None)

    def take(self, packet: Packet) -> Step | None:
        """The next step, if `packet` is its segment."""
        step = self._next
        if step is None or not _same(step, packet):
            return None
        self._next = next(self._left, None)
        return step


def _same(step: Step, packet: Packet) -> bool:
    segment = step.segment
    return (segment.seq, segment.flags, segment.ack, segment.length) == (
        packet.seq,
        packet.flags,
        packet.ack,
        packet.length,
    )
