"""Where the events of a trace come from; everything that shows or judges them takes a `TraceSource`.

A recorded folder is one (`sockfsm.Trace`), and so is what a program holds in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from sockfsm.trace.causes import SLACK
from sockfsm.trace.events import Call, Lost, Packet, Process, Socket, Transition, Wait
from sockfsm.trace.summary import Summary

if TYPE_CHECKING:
    from sockfsm.trace.about import About
    from sockfsm.trace.join import Join
    from sockfsm.wire.findings import Report
    from sockfsm.wire.kernel_states import KernelState


class TraceSource(ABC):
    """Calls, captured packets and the kernel's states, and all that follows from them.

    name: what views call it.
    """

    name: str

    @property
    @abstractmethod
    def problems(self) -> list[str]:
        """What is lost, damaged or was left out, a line for each, as far as it was read."""

    @property
    def losses(self) -> list[Lost]:
        """What is lost or was left out, as facts."""
        return []

    @abstractmethod
    def calls(self) -> Iterator[Call]:
        """Every finished call, in the order in which they ended."""

    @abstractmethod
    def captured(self) -> Iterator[Packet]:
        """The packets as they were captured, in that order; none without a capture."""

    @abstractmethod
    def kernel_states(self) -> list[KernelState]:
        """The kernel's own changes of TCP state, where they were recorded, by their time.

        Each one with the ports that its socket had in the end.
        """

    @abstractmethod
    def summary(self, *, index: bool = False) -> Summary:
        """What one pass over the calls tells. index: with what joins packets to calls."""

    @property
    @abstractmethod
    def facts(self) -> About:
        """What the recording says about itself."""

    @property
    def clock_error(self) -> int:
        """The most, ns, by which the packets' times are wrong; steps of the wall clock included."""
        return self.facts.clock_error

    @property
    def processes(self) -> list[Process]:
        """The traced processes, the first started first."""
        return list(self.summary().processes)

    @property
    def sockets(self) -> dict[str, Socket]:
        """identity -> socket, with the names that were known in the end."""
        return dict(self.summary().sockets)

    def transitions(self) -> Iterator[Transition]:
        """Every change of state."""
        for call in self.calls():
            if call.moved and call.socket is not None:
                yield Transition(call.end, call.socket, call.before, call.after, call)

    def waits(self) -> list[Wait]:
        """Every wait that really blocked, in order of its begin; those that last at the end."""
        summary = self.summary()
        ended = [
            Wait(c.begin, c.end, c.thread, c.socket, c.method, c.site) for c in summary.waits.all
        ]
        return ended + summary.blocked

    def blocked(self) -> list[Wait]:
        """The calls that are blocked now, or were when their process ended."""
        return list(self.summary().blocked)

    def packets(self) -> Iterator[Packet]:
        """The captured packets, joined with the calls of both ends; none without a capture."""
        return self.join().packets(self.captured())

    def report(self, port: int | None = None) -> Report:
        """Every connection: how it opened, what it carried, how it ended. port: only with this one."""
        from sockfsm.trace.connections import with_calls
        from sockfsm.wire.handshake import report

        join = self.join()
        for _ in join.packets(self.captured()):
            pass  # it is the flows that are asked for
        return with_calls(report(join.flows, port), join.directory)

    def join(self) -> Join:
        """What joins the packets of this trace with its calls, once over."""
        from sockfsm.trace.directory import Directory
        from sockfsm.trace.join import Join

        summary = self.summary(index=True)
        return Join(summary.directory or Directory(), summary.waits)


class MemoryTrace(TraceSource):
    """A trace that a program holds in memory: simulated, imported, or made up for a test.

    calls, packets, kernel_states: in any order; packets without what `join` adds. blocked: the waits
    that had not ended. processes: also those without a call.
    """

    def __init__(
        self,
        calls: Iterable[Call] = (),
        packets: Iterable[Packet] = (),
        *,
        kernel_states: Iterable[KernelState] = (),
        blocked: Iterable[Wait] = (),
        processes: Iterable[Process] = (),
        facts: About | None = None,
        name: str = "in memory",
    ) -> None:
        from sockfsm.trace.about import About

        self.name = name
        self._problems: list[str] = []
        self._losses: list[Lost] = []
        self._calls = list(calls)
        self._packets = list(packets)
        self._kernel_states = list(kernel_states)
        self._blocked = list(blocked)
        self._processes = list(processes)
        self._facts = facts or About()

    def calls(self) -> Iterator[Call]:
        """See `TraceSource`."""
        yield from sorted(self._calls, key=attrgetter("end"))

    def captured(self) -> Iterator[Packet]:
        """See `TraceSource`."""
        yield from sorted(self._packets, key=attrgetter("time"))

    def kernel_states(self) -> list[KernelState]:
        """See `TraceSource`."""
        return sorted(self._kernel_states, key=attrgetter("time"))

    def summary(self, *, index: bool = False) -> Summary:
        """See `TraceSource`."""
        summary = Summary(self.calls(), index=index, slack=max(SLACK, self.clock_error))
        known = {process.log for process in summary.processes}
        others = [process for process in self._processes if process.log not in known]
        summary.processes = sorted([*summary.processes, *others], key=attrgetter("started"))
        summary.blocked = sorted(self._blocked, key=attrgetter("begin"))
        return summary

    @property
    def facts(self) -> About:
        """See `TraceSource`."""
        return self._facts

    @property
    def problems(self) -> list[str]:
        """See `TraceSource`; whoever makes the trace may add to it."""
        return self._problems

    @property
    def losses(self) -> list[Lost]:
        """The same."""
        return self._losses
