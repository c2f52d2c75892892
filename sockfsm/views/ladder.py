"""Prints a trace as a ladder: one end on the left, the other on the right, and arrows between them.

     0.279229 CREATED          #2 ┏ connect(127.0.0.1:34103)     echo.py:20 ▒
     0.279277 SYN-SENT         #2 ┃ connect ────── SYN seq 0 ─────> accept ▒ #1     SYN-RECEIVED

A socket's bar is heavy during a call, and shaded while the call blocks. An arrow has at its tail the
call that caused it, and at its head the call whose wait it ended. The outer columns show a socket's
state when it changes. `sockfsm.views.rows` has the same as data.
"""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.events import Call, Message, Packet, Wait
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import BEGIN, WHOLE
from sockfsm.views.activity import BUSY, NOTHING, OPEN, WAITING
from sockfsm.views.frame import COLUMNS, footer, header
from sockfsm.views.glyphs import BOX, Glyphs
from sockfsm.views.layout import BLANK, STATE, Layout
from sockfsm.views.phrases import answered, behind, doubt, flags, named, place, reason, spoken
from sockfsm.views.rows import LadderRow, LadderRows
from sockfsm.views.rungs import arrow, beside, remark
from sockfsm.views.selection import Selection
from sockfsm.views.text import Paint, address, duration, plain
from sockfsm.views.totals import Totals
from sockfsm.wire.kernel_states import KernelState


class Ladder:
    """Prints the rows of one trace as lines of at most `columns` columns."""

    def __init__(
        self,
        trace: TraceSource,
        paint: Paint | None = None,
        glyphs: Glyphs = BOX,
        columns: int = COLUMNS,
    ) -> None:
        self.trace = trace
        self._rows = LadderRows(trace)
        self._lanes = self._rows.lanes
        self._paint = paint or Paint(False)
        self._glyphs = glyphs
        waiting = self._paint(glyphs.wait, "yellow")
        self._signs = {NOTHING: " ", OPEN: glyphs.bar, BUSY: glyphs.busy, WAITING: waiting}
        zero = self._rows.zero
        # The width of the time column must be known before the first row.
        last = max((p.ended or p.started for p in self._lanes.processes), default=zero)
        self._layout = Layout(self._paint, zero, last, columns)
        self._room = self._layout.room

    def lines(
        self, selection: Selection | None = None, kernel: list[KernelState] | None = None
    ) -> Iterator[str]:
        """Yield header, rows and footer. kernel: the kernel's own changes of TCP states."""
        totals = Totals()
        yield from header(self.trace, self._lanes, self._paint)
        yield self._layout.head("who connects or sends first", "who listens")
        for row in self._rows.rows(selection, kernel, totals):
            if row.pause:
                yield self._layout.pause(f"{duration(row.pause)} later")
            yield from self._lines(row)
        yield from footer(self.trace, self._lanes, self._paint, totals, self._rows.zero)

    def _lines(self, row: LadderRow) -> Iterator[str]:
        event = row.event
        if isinstance(event, Packet):
            yield from self._packet(row, event)
        elif isinstance(event, Message):
            yield from self._message(row, event)
        elif isinstance(event, Wait):
            parts = [f"{plain(event.method)}()"]
            yield from self._beside(row, parts, place(event.site), self._glyphs.begin)
        elif isinstance(event, Call) and row.phase == BEGIN:
            yield from self._beside(row, [spoken(event)], self._place(row), self._glyphs.begin)
        elif isinstance(event, Call):
            yield from self._call(row, event)
        else:
            text = f"kernel: {event.before} > {event.after}"
            (line,) = beside((text,), "", self._room, row.side)
            yield self._line(row, self._bars(row), line, "magenta")

    # Calls: at the side of their socket

    def _call(self, row: LadderRow, call: Call) -> Iterator[str]:
        """A call that has ended: the whole call, or the place where it returned."""
        whole = row.phase == WHOLE
        parts = [spoken(call) if whole else named(call)]
        # `accepted` is the birth of a data socket: nobody called it, and it cannot fail.
        if call.call != "accepted":
            parts[0] += f" = {answered(call, row.made)}"
        if call.waited:
            parts.append(f"blocked {duration(call.end - call.begin)}")
        site = self._place(row) if whole else ""
        signs = self._glyphs.whole if whole else self._glyphs.end
        yield from self._beside(row, parts, site, signs, "red" if call.refused else "")
        if call.errno and call.refused:
            yield from self._remark(row, reason(call), "red")
        if not call.explained:
            yield from self._remark(row, doubt(call), "magenta")

    def _place(self, row: LadderRow) -> str:
        """The place in the source, and the thread if it is not the one of the side's last call."""
        call = row.event
        if not isinstance(call, Call) or call.call == "accepted":
            return ""
        return f"{row.who} {place(call.site)}" if row.who else place(call.site)

    def _beside(
        self, row: LadderRow, parts: list[str], site: str, signs: tuple[str, str], colour: str = ""
    ) -> Iterator[str]:
        bars = self._bars(row)
        first = [*bars]
        end = row.ends[row.side]
        if end.label:
            first[row.side] = signs[row.side]
            if len(end.state) > STATE:
                # The column cuts a long state's name, so the row spells it out.
                parts = [*parts, f"now {plain(end.state)}"]
        lines = beside(tuple(parts), site, self._room, row.side)
        yield self._line(row, first, lines[0], colour)
        yield from self._more(bars, lines[1:], colour)

    def _remark(self, row: LadderRow, text: str, colour: str) -> Iterator[str]:
        yield from self._more(self._bars(row), remark(text, self._room, row.side), colour)

    # Arrows: from one end to the other

    def _packet(self, row: LadderRow, packet: Packet) -> Iterator[str]:
        word, length = flags(packet), f" len {packet.length}" if packet.length else ""
        if packet.protocol == "tcp":
            # A closed receive window explains a wait; other windows are left out.
            if packet.window == 0 and "A" in packet.flags and "R" not in packet.flags:
                length += " win 0"
            seq, ack = packet.relative
            short = f"{word} seq {seq}{length}"
            text = f"{word} seq {seq}{'' if ack is None else f' ack {ack}'}{length}"
        else:
            text = short = f"{word} len {packet.length}"
        head = "ignored" if packet.ignored else self._ended(packet.ended)
        lines = arrow(text, short, behind(packet), head, row.side, self._room, self._glyphs.wire)
        yield from self._between(row, lines)

    def _message(self, row: LadderRow, message: Message) -> Iterator[str]:
        text = f"message len {message.length}"
        if message.receiver is None:
            text += f" to {address(message.call.address or message.socket.remote)}"
        head, tail = self._ended(message.ended), named(message.call)
        lines = arrow(text, text, tail, head, row.side, self._room, self._glyphs.calls)
        yield from self._between(row, lines)

    def _ended(self, call: Call | None) -> str:
        return named(call) if call is not None else ""

    def _between(self, row: LadderRow, lines: list[str]) -> Iterator[str]:
        bars = self._bars(row)
        yield self._line(row, bars, lines[0], "cyan")
        yield from self._more(bars, lines[1:], "cyan")

    # Lines

    def _bars(self, row: LadderRow) -> list[str]:
        return [self._signs[end.doing] for end in row.ends]

    def _line(self, row: LadderRow, bars: list[str], middle: str, colour: str) -> str:
        left, right = ((end.label, plain(end.state)) for end in row.ends)
        # A message's time is that of its send, which stands in the row above.
        time = None if isinstance(row.event, Message) else row.time
        return self._layout.row(time, (left, right), bars, middle, colour)

    def _more(self, bars: list[str], middles: list[str], colour: str) -> Iterator[str]:
        for middle in middles:
            yield self._layout.row(None, (BLANK, BLANK), bars, middle, colour)
