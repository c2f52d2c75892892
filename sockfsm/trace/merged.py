"""Merges several traces of one machine, such as a server's and a client's from two terminals."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING

from sockfsm.errors import TraceError
from sockfsm.events import Call, Lost, Packet
from sockfsm.trace.source import TraceSource
from sockfsm.trace.summary import Summary

if TYPE_CHECKING:
    from sockfsm.trace.about import About
    from sockfsm.wire.kernel_states import KernelState

# Two captures stamp the same packet independently; their stamps differ by far less than this (ns).
_SAME = 1_000_000
_WINDOW = 256  # the latest packets, among which the second copy is searched


class MergedTrace(TraceSource):
    """The events of all `sources`, by time. A packet that two of them captured counts once.

    Their monotonic clocks must be the same: they come from one machine that was not restarted between
    them. TraceError if two sources have the same process.
    """

    def __init__(self, sources: Sequence[TraceSource]) -> None:
        self.sources = list(sources)
        self.name = ", ".join(source.name for source in self.sources)
        owners: dict[str, str] = {}
        for source in self.sources:
            names = [process.name for process in source.processes]
            for name in names:
                if name in owners:
                    raise TraceError(
                        f"{source.name}: has the process {name}, as {owners[name]} has: "
                        "merge traces of different runs on one machine"
                    )
            owners.update(dict.fromkeys(names, source.name))

    @property
    def problems(self) -> list[str]:
        """The problems of each trace, with its name."""
        return [f"{source.name}: {line}" for source in self.sources for line in source.problems]

    @property
    def losses(self) -> list[Lost]:
        """The losses of all traces."""
        return [lost for source in self.sources for lost in source.losses]

    def calls(self) -> Iterator[Call]:
        """See `TraceSource`."""
        return heapq.merge(*(s.calls() for s in self.sources), key=attrgetter("end"))

    def captured(self) -> Iterator[Packet]:
        """See `TraceSource`."""
        # On loopback both programs' captures hold the packets that they exchanged.
        captures = [zip(s.captured(), repeat(n)) for n, s in enumerate(self.sources)]
        recent: deque[tuple[Packet, int]] = deque(maxlen=_WINDOW)
        for packet, number in heapq.merge(*captures, key=lambda pair: pair[0].time):
            copies = (
                seen
                for seen in recent
                if seen[1] != number
                and seen[0].raw == packet.raw
                and abs(seen[0].wall - packet.wall) <= _SAME
            )
            copy = next(copies, None)
            if copy is not None:
                recent.remove(copy)
                continue
            recent.append((packet, number))
            yield packet

    def kernel_states(self) -> list[KernelState]:
        """See `TraceSource`."""
        states = {state for source in self.sources for state in source.kernel_states()}
        return sorted(states, key=attrgetter("time"))

    def _version(self) -> Hashable:
        return tuple(source._version() for source in self.sources)

    def _summarize(self, summary: Summary) -> bool:
        summary.read(self.calls())
        parts = [source.summary() for source in self.sources]
        summary.add_rest(
            [process for part in parts for process in part.processes],
            [wait for part in parts for wait in part.blocked],
        )
        return all(source._cached is not None for source in self.sources)

    @property
    def facts(self) -> About:
        """See `TraceSource`. The sentences of all traces are joined."""
        from sockfsm.trace.about import About

        facts = [source.facts for source in self.sources]

        def sentences(name: str) -> str | None:
            return "; ".join(dict.fromkeys(filter(None, (getattr(f, name) for f in facts)))) or None

        return About(
            sentences("capture"),
            sentences("kernel_states"),
            sentences("network"),
            max((f.clock_error for f in facts), default=0),
        )
