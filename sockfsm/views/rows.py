"""The rows of a ladder, as data: who stands where, what happened, and what each end is doing.

Each row shows the two ends of one connection: on the left the active one, on the right the passive one.
Time runs down. Everything that draws a ladder, in the terminal or on a page, draws these rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sockfsm.events import Call, Message, Packet, Socket, Wait
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import BEGIN, END, WHOLE, Mark, spans
from sockfsm.views.activity import NOTHING, Activity
from sockfsm.views.lanes import Lanes
from sockfsm.views.placement import LEFT, Placement
from sockfsm.views.selection import Selection
from sockfsm.views.timeline import zero_of
from sockfsm.views.totals import Totals
from sockfsm.wire.kernel_states import KernelState

_PAUSE = 100_000_000  # ns without an event; a shorter pause gets no row


class RowEnd(NamedTuple):
    """One end of a row.

    label: `#3`, or `:8080` for an end that is not traced; '' for an end without a part in the row.
    state: the state, if it has changed since it was last shown, else ''. Beside a call it is the API's
    state, beside a segment TCP's (RFC 9293). doing: what the socket is doing at that time, a word of
    `sockfsm.views.activity`.
    """

    label: str = ""
    state: str = ""
    doing: str = NOTHING


class LadderRow(NamedTuple):
    """One event between two ends.

    time: monotonic ns. phase: for a call BEGIN, END or WHOLE. side: LEFT or RIGHT, where the call was
    made or the packet was sent. ends: (left, right). who: the calling thread, if it is not the one of
    the side's last call, else ''. made: for an accept the name of its data socket, as `#3`. pause: ns
    since the last row, if that was long ago, else 0.
    """

    time: int
    phase: str
    event: Call | Wait | Packet | Message | KernelState
    side: int
    ends: tuple[RowEnd, RowEnd]
    who: str = ""
    made: str = ""
    pause: int = 0


class LadderRows:
    """Makes the rows of one trace. lanes: the names of its actors. zero: its start, monotonic ns."""

    def __init__(self, trace: TraceSource) -> None:
        self.trace = trace
        self.lanes = Lanes(trace, index=True)
        self.zero = zero_of(self.lanes.processes)
        self._placement = Placement(self.lanes)
        self._activity = Activity()
        self._shown: dict[tuple[str, bool], str] = {}
        # The name of the only thread goes without saying.
        lonely = sum(len(self.lanes.threads_of(p)) for p in self.lanes.processes) <= 1
        # For each side the thread that called last; None if there is only one thread.
        self._who: list[str | None] = [None, None] if lonely else ["", ""]

    def rows(
        self,
        selection: Selection | None = None,
        kernel: list[KernelState] | None = None,
        totals: Totals | None = None,
    ) -> Iterator[LadderRow]:
        """Yield the rows of the selected events. Good for one pass.

        kernel: the kernel's own changes of TCP states. totals: counts what is shown.
        """
        totals = totals or Totals()
        for mark, pause in self._selected(selection or Selection(), kernel or []):
            if mark.phase != BEGIN and isinstance(mark.event, Call | Packet):
                totals.add(mark.event)
            yield self._row(mark)._replace(pause=pause)

    def _selected(
        self, selection: Selection, kernel: list[KernelState]
    ) -> Iterator[tuple[Mark, int]]:
        """Yield the selected marks, each with the pause before it.

        A call's begin is held back until the next mark. If that is its own end, nothing happened in
        between, and the call gets one row instead of two.
        """
        until = None if selection.until is None else self.zero + selection.until
        everything = selection == Selection()
        held: tuple[Mark, int] | None = None
        before = 0
        for mark in spans(self.trace, kernel):
            # Marks come in the order of time, so nothing after this one is selected.
            if until is not None and mark.time > until:
                break
            if not everything and not self._takes(selection, mark):
                self._pass(mark)
                continue
            pause = mark.time - before if before and mark.time - before >= _PAUSE else 0
            before = mark.time
            if held is not None and mark.phase == END and _same(held[0].event, mark.event):
                yield Mark(held[0].time, WHOLE, mark.event), held[1]
                held = None
                continue
            if held is not None:
                yield held
                held = None
            if mark.phase == BEGIN:
                held = mark, pause
            else:
                yield mark, pause
        if held is not None:
            yield held

    def _takes(self, selection: Selection, mark: Mark) -> bool:
        event = mark.event
        owner = self._placement.of_kernel(event)[1] if isinstance(event, KernelState) else None
        return selection.takes(event, mark.time, self.lanes, self.zero, owner)

    def _pass(self, mark: Mark) -> None:
        """Note what an event does to the activity of its socket, whether it is shown or not."""
        if mark.phase == BEGIN and isinstance(mark.event, Call | Wait):
            self._activity.begin(mark.event)
        elif isinstance(mark.event, Call):
            self._activity.end(mark.event, now=mark.time)

    def _row(self, mark: Mark) -> LadderRow:
        event = mark.event
        if isinstance(event, Packet | Message):
            return self._arrow(mark, event)
        if isinstance(event, KernelState):
            side, socket = self._placement.of_kernel(event)
            label = self.lanes.socket(socket) if socket is not None else f":{event.source[1]}"
            return LadderRow(
                mark.time, WHOLE, event, side, self._pair(socket, mark.time, side, label)
            )
        return self._call(mark, event)

    def _call(self, mark: Mark, event: Call | Wait) -> LadderRow:
        """The row of a call: where it begins, where it returned, or the whole call."""
        self._pass(mark)
        socket, who, made, state = event.socket, "", "", ""
        if isinstance(event, Call):
            state = event.before if mark.phase == BEGIN else event.after
            if mark.phase != END and event.call != "accepted":
                who = self._thread(event)
            data = self.lanes.made_by(event) if mark.phase != BEGIN else None
            made = self.lanes.socket(data) if data is not None else ""
        side = self._placement.side(socket)
        label = self.lanes.socket(socket) if socket is not None else ""
        if socket is not None:
            state = self._news(socket.identity, state, tcp=False)
        ends = self._pair(socket, mark.time, side, label, state)
        return LadderRow(mark.time, mark.phase, event, side, ends, who, made)

    def _arrow(self, mark: Mark, event: Packet | Message) -> LadderRow:
        """The row of a packet or message, from one end to the other."""
        if isinstance(event, Packet):
            names = f":{event.source[1]}", f":{event.target[1]}"
            states = event.states or ("", "")
        else:
            names, states = ("?", "?"), ("", "")
        here, there = (
            self._arrow_end(socket, mark.time, name, state)
            for socket, name, state in zip(
                (event.socket, event.receiver), names, states, strict=True
            )
        )
        side = self._placement.of_packet(event)
        ends = (here, there) if side == LEFT else (there, here)
        return LadderRow(mark.time, WHOLE, event, side, ends)

    def _arrow_end(self, socket: Socket | None, time: int, name: str, state: str) -> RowEnd:
        """One end of an arrow. name: its label if it is not traced."""
        label = self.lanes.socket(socket) if socket is not None else name
        news = self._news(socket.identity if socket is not None else name, state, tcp=True)
        return RowEnd(label, news, self._activity.of(socket, time))

    def _pair(
        self, socket: Socket | None, time: int, side: int, label: str, state: str = ""
    ) -> tuple[RowEnd, RowEnd]:
        """(left, right): a socket on its side, its peer on the other."""
        here = RowEnd(label, state, self._activity.of(socket, time))
        there = RowEnd("", "", self._activity.of(self._placement.peer(socket), time))
        return (here, there) if side == LEFT else (there, here)

    def _thread(self, call: Call) -> str:
        """The calling thread, if it is not the one that called last on this side; else ''."""
        side = self._placement.side(call.socket)
        who = self.lanes.who(call.process, call.thread)
        if self._who[side] in (None, who):
            return ""
        self._who[side] = who
        return who

    def _news(self, who: str, state: str, *, tcp: bool) -> str:
        """The state, if it is not the one that was last shown; else ''."""
        if not state or self._shown.get((who, tcp)) == state:
            return ""
        self._shown[who, tcp] = state
        return state


def _same(begun: object, ended: object) -> bool:
    """Whether both are the same call, read in two passes over the trace."""
    return (
        isinstance(begun, Call)
        and isinstance(ended, Call)
        and begun.begin == ended.begin
        and begun.thread.number == ended.thread.number
        and begun.process.log == ended.process.log
    )
