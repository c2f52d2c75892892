"""`TraceSource`, the interface to the events of a trace. Views, exports and assertions take one.

A recorded folder is a source (`sockfsm.Trace`), and so is a trace in memory (`MemoryTrace`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from sockfsm.events import Call, Lost, Packet, Process, Socket, Transition, Wait
from sockfsm.trace.causes import SLACK
from sockfsm.trace.summary import Summary

if TYPE_CHECKING:
    from sockfsm.trace.about import About
    from sockfsm.trace.join import Join
    from sockfsm.wire.findings import Report
    from sockfsm.wire.kernel_states import KernelState


class TraceSource(ABC):
    """Calls, captured packets and the kernel's states, and all that follows from them.

    name: how views refer to it.
    """

    name: str
    _cached: tuple[Hashable, Summary] | None = None

    @property
    @abstractmethod
    def problems(self) -> list[str]:
        """A line for each thing that is lost, damaged or left out. Complete once the trace is read."""

    @property
    def losses(self) -> list[Lost]:
        """What is lost or left out, as data."""
        return []

    @abstractmethod
    def calls(self) -> Iterator[Call]:
        """Yield every finished call, in the order in which they ended."""

    @abstractmethod
    def captured(self) -> Iterator[Packet]:
        """Yield the packets as they were captured, in that order; none without a capture."""

    @abstractmethod
    def kernel_states(self) -> list[KernelState]:
        """The kernel's own changes of TCP state by time; [] where they were not recorded.

        Each has the ports that its socket had in the end.
        """

    @abstractmethod
    def _version(self) -> Hashable:
        """A value that changes whenever another pass would give a different summary."""

    @abstractmethod
    def _summarize(self, summary: Summary) -> bool:
        """Make one pass: add the calls, all processes and the waits that have not ended.

        Returns whether the trace is complete.
        """

    def summary(self, *, index: bool = False) -> Summary:
        """The summary of one pass over the calls. index: include what joins packets to calls.

        It is cached once the trace is complete.
        """
        version = self._version()
        if self._cached is not None and self._cached[0] == version:
            summary = self._cached[1]
            if summary.directory is not None or not index:
                return summary
        summary = Summary(index=index, slack=max(SLACK, self.clock_error))
        complete = self._summarize(summary)
        self._cached = (version, summary) if complete else None
        return summary

    @property
    @abstractmethod
    def facts(self) -> About:
        """What the recorder noted about the recording."""

    @property
    def clock_error(self) -> int:
        """The most by which a packet's time is wrong, in ns. Includes steps of the wall clock."""
        return self.facts.clock_error

    @property
    def processes(self) -> list[Process]:
        """The traced processes, in the order in which they started."""
        return list(self.summary().processes)

    @property
    def sockets(self) -> dict[str, Socket]:
        """identity -> socket, with the addresses that were known in the end."""
        return dict(self.summary().sockets)

    def transitions(self) -> Iterator[Transition]:
        """Yield every change of state."""
        for call in self.calls():
            if call.moved and call.socket is not None:
                yield Transition(call.end, call.socket, call.before, call.after, call)

    def waits(self) -> list[Wait]:
        """Every wait that really blocked, in the order of their begins; unfinished ones come last."""
        summary = self.summary()
        ended = [
            Wait(c.begin, c.end, c.thread, c.socket, c.method, c.site) for c in summary.waits.all
        ]
        return ended + summary.blocked

    def blocked(self) -> list[Wait]:
        """The calls that are blocked now, or were when their process ended."""
        return list(self.summary().blocked)

    def packets(self, summary: Summary | None = None) -> Iterator[Packet]:
        """Yield the captured packets, joined with the calls of both ends; none without a capture.

        summary: as for `join`.
        """
        return self.join(summary).packets(self.captured())

    def report(self, port: int | None = None) -> Report:
        """Every connection: how it opened, what it carried, how it ended. port: only that port's."""
        from sockfsm.trace.connections import with_calls
        from sockfsm.wire.handshake import report

        join = self.join()
        for _ in join.packets(self.captured()):
            pass  # only `join.flows` is of interest here
        return with_calls(report(join.flows, port), join.directory)

    def join(self, summary: Summary | None = None) -> Join:
        """A fresh `Join` of this trace's packets with its calls, good for one pass.

        summary: with its index, if the caller has it already.
        """
        from sockfsm.trace.directory import Directory
        from sockfsm.trace.join import Join

        summary = summary or self.summary(index=True)
        return Join(summary.directory or Directory(), summary.waits)


class MemoryTrace(TraceSource):
    """A trace in memory: simulated, imported, or made up for a test.

    calls, packets, kernel_states: in any order. packets: as captured; `join` fills in the rest.
    blocked: the waits that have not ended. processes: needed for those that made no call. facts: may
    be made when they are asked for.
    """

    def __init__(
        self,
        calls: Iterable[Call] = (),
        packets: Iterable[Packet] = (),
        *,
        kernel_states: Iterable[KernelState] = (),
        blocked: Iterable[Wait] = (),
        processes: Iterable[Process] = (),
        facts: About | Callable[[], About] | None = None,
        name: str = "in memory",
    ) -> None:
        self.name = name
        self._problems: list[str] = []
        self._losses: list[Lost] = []
        self._calls = list(calls)
        self._packets = list(packets)
        self._kernel_states = list(kernel_states)
        self._blocked = list(blocked)
        self._processes = list(processes)
        self._facts = facts

    def calls(self) -> Iterator[Call]:
        """See `TraceSource`."""
        yield from sorted(self._calls, key=attrgetter("end"))

    def captured(self) -> Iterator[Packet]:
        """See `TraceSource`."""
        yield from sorted(self._packets, key=attrgetter("time"))

    def kernel_states(self) -> list[KernelState]:
        """See `TraceSource`."""
        return sorted(self._kernel_states, key=attrgetter("time"))

    def _version(self) -> Hashable:
        # The maker of the trace may still add to these.
        return len(self._calls), len(self._blocked), len(self._processes)

    def _summarize(self, summary: Summary) -> bool:
        summary.read(self.calls())
        # A process without calls is in no call; the caller has to name it.
        known = {process.log for process in summary.processes}
        others = [process for process in self._processes if process.log not in known]
        summary.add_rest([*summary.processes, *others], self._blocked)
        return True

    @property
    def facts(self) -> About:
        """See `TraceSource`."""
        if self._facts is None or callable(self._facts):
            from sockfsm.trace.about import About

            self._facts = self._facts() if self._facts is not None else About()
        return self._facts

    @property
    def problems(self) -> list[str]:
        """See `TraceSource`. The maker of the trace may add to the list."""
        return self._problems

    @property
    def losses(self) -> list[Lost]:
        """See `TraceSource`. The maker of the trace may add to the list."""
        return self._losses
