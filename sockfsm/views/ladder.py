"""A trace as a ladder: one end at the left, the other at the right, between them what passed.

     0.279229 CREATED          #2 ┏ connect(127.0.0.1:34103)     echo.py:20 ▒
     0.279277 SYN-SENT         #2 ┃ connect ────── SYN seq 0 ─────> accept ▒ #1     SYN-RECEIVED

Each row shows the two ends of one connection. Time runs down; a call's bar is heavy, shaded while it
blocks. An arrow has the call that caused it at its tail and the call whose wait it ended at its head.
The outer columns have a socket's state when it is another one than before: of the API beside calls,
of TCP (RFC 9293) beside segments.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sockfsm.trace.events import Call, Packet, Socket, Wait
from sockfsm.trace.tcp_path import Step
from sockfsm.trace.tcp_states import TcpStates
from sockfsm.trace.unix_wire import sends
from sockfsm.views.bars import Bars
from sockfsm.views.ends import LEFT, RIGHT, Ends
from sockfsm.views.frame import COLUMNS, footer, header
from sockfsm.views.glyphs import BOX, Glyphs
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import (
    Relative,
    answered,
    behind,
    doubt,
    flags,
    named,
    place,
    reason,
    spoken,
)
from sockfsm.views.rows import NOBODY, STATE, End, Rows
from sockfsm.views.rungs import arrow, beside, remark
from sockfsm.views.selection import Selection
from sockfsm.views.spans import BEGIN, END, WHOLE, Mark, marks
from sockfsm.views.tally import Tally
from sockfsm.views.text import Paint, address, duration, plain
from sockfsm.views.timeline import zero_of
from sockfsm.wire.kernel_states import KernelState

if TYPE_CHECKING:
    from sockfsm.trace.trace import Trace

_PAUSE = 100_000_000  # ns without an event that are worth a row
_NOBODY = NOBODY, NOBODY


class _About(NamedTuple):
    """What a packet or call means in its connection.

    numbers: a packet's, from each side's first. step: what it does to the TCP states. woken: the call
    whose wait it ended.
    """

    numbers: tuple[int, int | None]
    step: Step | None
    woken: Call | None


_ABOUT_NOTHING = _About((0, None), None, None)


class Ladder:
    """Writes one trace as rows of `columns` columns."""

    def __init__(
        self,
        trace: Trace,
        paint: Paint | None = None,
        glyphs: Glyphs = BOX,
        columns: int = COLUMNS,
    ) -> None:
        self.trace = trace
        self.lanes = Lanes(trace, index=True)
        self.zero = zero_of(self.lanes.processes)
        self._told = trace.summary(index=True)
        self._ends = Ends(self.lanes, self._told)
        self._paint = paint or Paint(False)
        self._glyphs = glyphs
        self._bars = Bars(glyphs, self._paint)
        last = max((p.ended or p.started for p in self.lanes.processes), default=self.zero)
        self._rows = Rows(self._paint, self.zero, last, columns)
        self._room = self._rows.room
        self._shown: dict[tuple[str, bool], str] = {}
        lonely = sum(len(self.lanes.threads_of(p)) for p in self.lanes.processes) <= 1
        # The name of the thread that called last, at each side; None: there is but one.
        self._who: list[str | None] = [None, None] if lonely else ["", ""]

    def lines(
        self, selection: Selection | None = None, kernel: list[KernelState] | None = None
    ) -> Iterator[str]:
        """Header, rows and footer. kernel: the recorded changes of its own TCP states."""
        tally = Tally()
        yield from header(self.trace, self.lanes, self._paint)
        yield self._rows.head("who connects or sends first", "who listens")
        yield from self._events(selection or Selection(), tally, kernel or [])
        yield from footer(self.trace, self.lanes, self._paint, tally, self.zero)

    def _events(
        self, selection: Selection, tally: Tally, kernel: list[KernelState]
    ) -> Iterator[str]:
        """The rows of what is selected. A call's begin is held back until it is known whether
        anything stands between it and its end."""
        relative, waker, states = Relative(), self._told.waker(), self._tcp_states()
        until = None if selection.until is None else self.zero + selection.until
        everything = selection == Selection()
        held: Mark | None = None
        before = 0
        for mark in marks(self.trace.calls(), self.trace.packets(), self._waits(), kernel):
            time, phase, event = mark
            if until is not None and time > until:
                break
            about = _ABOUT_NOTHING
            # These are asked of all, shown or not: they count from the opening.
            if isinstance(event, Packet):
                about = _About(relative.numbers(event), states.step(event), waker.ends(event))
            elif isinstance(event, Call) and phase != BEGIN:
                about = _About((0, None), None, waker.ends(event))
            if not everything and not self._takes(selection, mark):
                self._pass(mark)
                continue
            if phase == BEGIN:
                if held is not None:
                    yield from self._begin(held)
                held = mark
            elif held is not None:
                if phase == END and _same(held.event, event):
                    mark = Mark(held.time, WHOLE, event)
                else:
                    yield from self._begin(held)
                held = None
            if before and time - before >= _PAUSE and mark.time == time:
                yield self._rows.pause(f"{duration(time - before)} later")
            before = time
            if phase == BEGIN:
                continue
            if isinstance(event, Packet):
                tally.add(event)
                yield from self._packet(event, about)
            elif isinstance(event, Call):
                tally.add(event)
                yield from self._call(mark, event)
                if sends(event):
                    yield from self._message(event, about.woken)
            elif isinstance(event, KernelState):
                yield self._kernel(event)
        if held is not None:
            yield from self._begin(held)

    def _tcp_states(self) -> TcpStates:
        from sockfsm.trace.trace import PACKETS
        from sockfsm.wire.handshake import inspect_file

        path = Path(self.trace.path) / PACKETS
        return TcpStates(inspect_file(path).connections if path.exists() else ())

    def _waits(self) -> Iterable[Call | Wait]:
        """The calls that waited, and those that still do, by their begins."""
        return heapq.merge(self._told.waits.all, self._told.blocked, key=attrgetter("begin"))

    def _takes(self, selection: Selection, mark: Mark) -> bool:
        event = mark.event
        receiver: Socket | None = None
        if isinstance(event, KernelState):
            receiver = self._ends.of_kernel(event)[1]
        elif isinstance(event, Call) and sends(event):
            receiver = self._told.peers.receiver(event)
        return selection.takes(event, self.lanes, self.zero, receiver, mark.time)

    def _pass(self, mark: Mark) -> None:
        """What an event does to the bars, shown or not."""
        if mark.phase == BEGIN and isinstance(mark.event, Call | Wait):
            self._bars.begin(mark.event)
        elif isinstance(mark.event, Call):
            self._bars.end(mark.event, now=mark.time)

    # Calls: at the side of their socket

    def _begin(self, mark: Mark) -> Iterator[str]:
        """Where a call begins that has rows between here and its end."""
        event = mark.event
        assert isinstance(event, Call | Wait)
        self._pass(mark)
        if isinstance(event, Call):
            text, site, state = spoken(event), self._place(event), event.before
        else:
            text, site, state = f"{plain(event.method)}()", place(event.site), ""
        yield from self._beside(mark.time, event.socket, [text], site, state, self._glyphs.begin)

    def _call(self, mark: Mark, call: Call) -> Iterator[str]:
        """A call that ended: all of it, or where it returned."""
        whole = mark.phase == WHOLE
        made = self.lanes.made_by(call)
        parts = [spoken(call) if whole else named(call)]
        if call.call != "accepted":
            parts[0] += f" = {answered(call, self.lanes.socket(made) if made else '')}"
        if call.waited:
            parts.append(f"blocked {duration(call.end - call.begin)}")
        site = self._place(call) if whole else ""
        signs = self._glyphs.whole if whole else self._glyphs.end
        colour = "red" if call.refused else ""
        self._pass(mark)
        yield from self._beside(mark.time, call.socket, parts, site, call.after, signs, colour)
        if call.errno and call.refused:
            yield from self._remark(mark.time, call.socket, reason(call), "red")
        if not call.explained:
            yield from self._remark(mark.time, call.socket, doubt(call), "magenta")

    def _place(self, call: Call) -> str:
        """The place in the source, with the thread where it is another one than before."""
        where, side = place(call.site), self._ends.side(call.socket)
        if call.call == "accepted":
            return ""
        who = self.lanes.who(call.process, call.thread)
        if self._who[side] in (None, who):
            return where
        self._who[side] = who
        return f"{who} {where}"

    def _beside(
        self,
        time: int,
        socket: Socket | None,
        parts: list[str],
        site: str,
        state: str,
        signs: tuple[str, str],
        colour: str = "",
    ) -> Iterator[str]:
        side, end = self._ends.side(socket), NOBODY
        bars = self._pair(socket, time)
        first = [*bars]
        if socket is not None:
            news = self._news(socket.identity, state, tcp=False)
            end, first[side] = (self.lanes.socket(socket), news), signs[side]
            if len(news) > STATE:
                parts = [*parts, f"now {news}"]  # a state's long name does not fit its column
        rows = beside(tuple(parts), site, self._room, side)
        yield self._rows.row(time, _sided(side, end), first, rows[0], colour)
        for row in rows[1:]:
            yield self._rows.row(None, _NOBODY, bars, row, colour)

    def _remark(self, time: int, socket: Socket | None, text: str, colour: str) -> Iterator[str]:
        for row in remark(text, self._room, self._ends.side(socket)):
            yield self._rows.row(None, _NOBODY, self._pair(socket, time), row, colour)

    # Arrows: from one end to the other

    def _packet(self, packet: Packet, about: _About) -> Iterator[str]:
        side, sender, receiver = self._ends.of_packet(packet)
        numbers, step, woken = about
        word, length = flags(packet), f" len {packet.length}" if packet.length else ""
        if packet.protocol == "tcp":
            if packet.window == 0 and "A" in packet.flags and "R" not in packet.flags:
                length += " win 0"
            short = f"{word} seq {numbers[0]}{length}"
            ack = "" if numbers[1] is None else f" ack {numbers[1]}"
            text = f"{word} seq {numbers[0]}{ack}{length}"
        else:
            text = short = f"{word} len {packet.length}"
        label = self.lanes.socket(sender) if sender is not None else f":{packet.source[1]}"
        other = self.lanes.socket(receiver) if receiver is not None else f":{packet.target[1]}"
        ends = _sided(side, (label, ""), (other, ""))
        if step is not None:
            here, there = step.states
            who = sender.identity if sender is not None else label
            whom = receiver.identity if receiver is not None else other
            here, there = self._news(who, here, tcp=True), self._news(whom, there, tcp=True)
            ends = _sided(side, (label, here), (other, there))
        tail, head = behind(packet), named(woken) if woken is not None else ""
        if step is not None and step.ignored:
            head = "ignored"
        rows = arrow(text, short, tail, head, side, self._room, self._glyphs.wire)
        yield from self._between(packet.time, ends, sender, receiver, side, rows)

    def _message(self, call: Call, woken: Call | None) -> Iterator[str]:
        """What a send on an AF_UNIX socket moved: an arrow too, though no packet exists."""
        receiver = self._told.peers.receiver(call)
        side = self._ends.side(call.socket)
        text = f"message len {call.done}"
        if receiver is None:
            known = call.socket.remote if call.socket is not None else None
            text += f" to {address(call.address or known)}"
        other = self.lanes.socket(receiver) if receiver else "?"
        ends = _sided(side, (self.lanes.socket(call.socket), ""), (other, ""))
        head = named(woken) if woken is not None else ""
        rows = arrow(text, text, named(call), head, side, self._room, self._glyphs.calls)
        yield from self._between(None, ends, call.socket, receiver, side, rows, call.begin)

    def _between(
        self,
        time: int | None,
        ends: tuple[End, End],
        sender: Socket | None,
        receiver: Socket | None,
        side: int,
        rows: list[str],
        now: int = 0,
    ) -> Iterator[str]:
        bars = [self._bars.sign(socket, time or now) for socket in (sender, receiver)]
        if side == RIGHT:
            bars.reverse()
        yield self._rows.row(time, ends, bars, rows[0], "cyan")
        for row in rows[1:]:
            yield self._rows.row(None, _NOBODY, bars, row, "cyan")

    def _kernel(self, state: KernelState) -> str:
        """A change of state in the kernel's own words."""
        side, socket = self._ends.of_kernel(state)
        label = self.lanes.socket(socket) if socket is not None else f":{state.source[1]}"
        (row,) = beside((f"kernel: {state.before} > {state.after}",), "", self._room, side)
        bars = self._pair(socket, state.time)
        return self._rows.row(state.time, _sided(side, (label, "")), bars, row, "magenta")

    # Ends

    def _pair(self, socket: Socket | None, time: int) -> list[str]:
        """The bars of a socket and its peer, (left, right)."""
        bars = [self._bars.sign(self._ends.peer(socket), time)] * 2
        bars[self._ends.side(socket)] = self._bars.sign(socket, time)
        return bars

    def _news(self, who: str, state: str, *, tcp: bool) -> str:
        """The state, when it is another one than was shown last; '' otherwise."""
        if not state or self._shown.get((who, tcp)) == state:
            return ""
        self._shown[who, tcp] = state
        return plain(state)


def _sided(side: int, end: End, other: End = NOBODY) -> tuple[End, End]:
    """(left, right), `end` at `side`."""
    return (end, other) if side == LEFT else (other, end)


def _same(begun: object, ended: object) -> bool:
    """Whether these are one call, which two passes over the trace have read."""
    return (
        isinstance(begun, Call)
        and isinstance(ended, Call)
        and begun.begin == ended.begin
        and begun.thread.number == ended.thread.number
        and begun.process.log == ended.process.log
    )
