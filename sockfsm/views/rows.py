"""A trace as the rows of a ladder, as data: who stands where, what passed, what each end is doing.

Each row shows the two ends of one connection. At the left is who opens, at the right who is spoken to.
Time runs down. Whatever draws a ladder (the terminal, a page) draws these rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sockfsm.trace.events import Call, Message, Packet, Socket, Wait
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import BEGIN, END, WHOLE, Mark, spans
from sockfsm.views.activity import NOTHING, Activity
from sockfsm.views.ends import LEFT, Ends
from sockfsm.views.lanes import Lanes
from sockfsm.views.selection import Selection
from sockfsm.views.tally import Tally
from sockfsm.views.timeline import zero_of
from sockfsm.wire.kernel_states import KernelState

_PAUSE = 100_000_000  # ns without an event that are worth a row


class End(NamedTuple):
    """One end of a row.

    label: `#3`, or `:8080` for an end that is not traced; '' for one that has no part in the row.
    state: its new state, '' when it is the one shown last: of the API beside calls, of TCP (RFC 9293)
    beside segments. doing: what its socket is doing then, a word of `sockfsm.views.activity`.
    """

    label: str = ""
    state: str = ""
    doing: str = NOTHING


class Row(NamedTuple):
    """One event between two ends.

    time: monotonic ns. phase: of a call BEGIN, END or WHOLE. side: LEFT or RIGHT, where the call was
    made or the packet was sent. ends: (left, right). who: the thread, when it is another one than that
    side's last call had. made: the data socket that an accept gave, as `#3`. pause: ns since the row
    before, when nothing came for long; else 0.
    """

    time: int
    phase: str
    event: Call | Wait | Packet | Message | KernelState
    side: int
    ends: tuple[End, End]
    who: str = ""
    made: str = ""
    pause: int = 0


class Rows:
    """Makes the rows of one trace. lanes: its sockets and threads; zero: its begin, monotonic ns."""

    def __init__(self, trace: TraceSource) -> None:
        self.trace = trace
        self.lanes = Lanes(trace, index=True)
        self.zero = zero_of(self.lanes.processes)
        self._ends = Ends(self.lanes, trace.summary(index=True))
        self._activity = Activity()
        self._shown: dict[tuple[str, bool], str] = {}
        lonely = sum(len(self.lanes.threads_of(p)) for p in self.lanes.processes) <= 1
        # The name of the thread that called last, at each side; None: there is but one.
        self._who: list[str | None] = [None, None] if lonely else ["", ""]

    def rows(
        self,
        selection: Selection | None = None,
        kernel: list[KernelState] | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Row]:
        """The rows of what is selected. kernel: the recorded changes of its own TCP states.

        tally: counts what is shown.
        """
        tally = tally or Tally()
        for mark, pause in self._selected(selection or Selection(), kernel or []):
            if mark.phase != BEGIN and isinstance(mark.event, Call | Packet):
                tally.add(mark.event)
            yield self._row(mark)._replace(pause=pause)

    def _selected(
        self, selection: Selection, kernel: list[KernelState]
    ) -> Iterator[tuple[Mark, int]]:
        """The marks to be shown, each with the pause before it.

        A call's begin is held back until it is known whether anything stands between it and its end;
        where nothing does, the call is shown whole.
        """
        until = None if selection.until is None else self.zero + selection.until
        everything = selection == Selection()
        held: tuple[Mark, int] | None = None
        before = 0
        for mark in spans(self.trace, kernel):
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
        owner = self._ends.of_kernel(event)[1] if isinstance(event, KernelState) else None
        return selection.takes(event, mark.time, self.lanes, self.zero, owner)

    def _pass(self, mark: Mark) -> None:
        """What an event does to the activity of its socket, shown or not."""
        if mark.phase == BEGIN and isinstance(mark.event, Call | Wait):
            self._activity.begin(mark.event)
        elif isinstance(mark.event, Call):
            self._activity.end(mark.event, now=mark.time)

    def _row(self, mark: Mark) -> Row:
        event = mark.event
        if isinstance(event, Packet | Message):
            return self._arrow(mark, event)
        if isinstance(event, KernelState):
            side, socket = self._ends.of_kernel(event)
            label = self.lanes.socket(socket) if socket is not None else f":{event.source[1]}"
            return Row(mark.time, WHOLE, event, side, self._pair(socket, mark.time, side, label))
        return self._call(mark, event)

    def _call(self, mark: Mark, event: Call | Wait) -> Row:
        """A call at the side of its socket: where it begins, where it returned, or all of it."""
        self._pass(mark)
        socket, who, made, state = event.socket, "", "", ""
        if isinstance(event, Call):
            state = event.before if mark.phase == BEGIN else event.after
            if mark.phase != END and event.call != "accepted":
                who = self._thread(event)
            data = self.lanes.made_by(event) if mark.phase != BEGIN else None
            made = self.lanes.socket(data) if data is not None else ""
        side = self._ends.side(socket)
        label = self.lanes.socket(socket) if socket is not None else ""
        if socket is not None:
            state = self._news(socket.identity, state, tcp=False)
        ends = self._pair(socket, mark.time, side, label, state)
        return Row(mark.time, mark.phase, event, side, ends, who, made)

    def _arrow(self, mark: Mark, event: Packet | Message) -> Row:
        """What passed from one end to the other."""
        sender, receiver = event.socket, event.receiver
        states = event.states if isinstance(event, Packet) else None
        labels = [self.lanes.socket(s) if s is not None else "?" for s in (sender, receiver)]
        if isinstance(event, Packet):
            for number, (socket, end) in enumerate(
                ((sender, event.source), (receiver, event.target))
            ):
                labels[number] = labels[number] if socket is not None else f":{end[1]}"
        news = ["", ""]
        for number, socket in enumerate((sender, receiver)):
            if states is not None:
                who = socket.identity if socket is not None else labels[number]
                news[number] = self._news(who, states[number], tcp=True)
        doing = [self._activity.of(socket, mark.time) for socket in (sender, receiver)]
        here, there = (End(*end) for end in zip(labels, news, doing, strict=True))
        side = self._ends.of_packet(event)
        return Row(mark.time, WHOLE, event, side, (here, there) if side == LEFT else (there, here))

    def _pair(
        self, socket: Socket | None, time: int, side: int, label: str, state: str = ""
    ) -> tuple[End, End]:
        """(left, right): a socket at its side, its peer at the other."""
        here = End(label, state, self._activity.of(socket, time))
        there = End("", "", self._activity.of(self._ends.peer(socket), time))
        return (here, there) if side == LEFT else (there, here)

    def _thread(self, call: Call) -> str:
        """The calling thread, where it is another one than called last at this side."""
        side = self._ends.side(call.socket)
        who = self.lanes.who(call.process, call.thread)
        if self._who[side] in (None, who):
            return ""
        self._who[side] = who
        return who

    def _news(self, who: str, state: str, *, tcp: bool) -> str:
        """The state, when it is another one than was shown last; '' otherwise."""
        if not state or self._shown.get((who, tcp)) == state:
            return ""
        self._shown[who, tcp] = state
        return state


def _same(begun: object, ended: object) -> bool:
    """Whether these are one call, which two passes over the trace have read."""
    return (
        isinstance(begun, Call)
        and isinstance(ended, Call)
        and begun.begin == ended.begin
        and begun.thread.number == ended.thread.number
        and begun.process.log == ended.process.log
    )
