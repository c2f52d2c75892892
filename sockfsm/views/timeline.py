"""Prints a trace as a list with a line for each call and packet.

0.052341 main     #1   bind(127.0.0.1:40001) = ok           CREATED -> BOUND       echo.py:15
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from sockfsm.events import Call, Message, Packet, Process, Socket
from sockfsm.trace.stream import events, moment
from sockfsm.views.frame import COLUMNS, footer, header
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import (
    answered,
    caused,
    doubt,
    flags,
    named,
    place,
    reason,
    spoken,
    states,
)
from sockfsm.views.selection import Selection
from sockfsm.views.text import Paint, address, cut, duration, pad, plain, width
from sockfsm.views.totals import Totals

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_TIME = 10
_SOCKET = 4
_STATES = 62

Field = tuple[int, str, str]
"""(the column at which it should begin, text, colour)."""


def zero_of(processes: list[Process]) -> int:
    """The start of a timeline, monotonic ns: when the first process started."""
    return min((process.started for process in processes), default=0)


class Timeline:
    """Prints one trace as lines of at most 100 columns."""

    def __init__(self, trace: TraceSource, paint: Paint | None = None) -> None:
        self.trace = trace
        self.lanes = Lanes(trace, index=True)
        self.zero = zero_of(self.lanes.processes)
        self._paint = paint or Paint(False)
        self._nobody = " " * min(self.lanes.who_columns(), 16)
        self._names: dict[tuple[str, int], str] = {}
        self._indent = _TIME + 1 + len(self._nobody) + 1 + _SOCKET + 1

    def lines(self, selection: Selection | None = None) -> Iterator[str]:
        """Yield header, events and footer. Holds only totals and a bounded number of events."""
        selection = selection or Selection()
        totals = Totals()
        yield from header(self.trace, self.lanes, self._paint)
        for time, _, event, *_ in events(self.trace):
            made = self.lanes.made_by(event) if isinstance(event, Call) else None
            if not selection.takes(event, time, self.lanes, self.zero):
                continue
            if isinstance(event, Call):
                totals.add(event)
                yield from self.call(event, made)
            elif isinstance(event, Packet):
                totals.add(event)
                yield from self.packet(event)
            elif isinstance(event, Message):
                yield from self.message(event)
        yield from footer(self.trace, self.lanes, self._paint, totals, self.zero)

    def call(self, call: Call, made: Socket | None = None) -> Iterator[str]:
        """Yield one call; more lines if it needs more room, or was refused for a known reason.

        made: for an `accept`, its data socket.
        """
        what = spoken(call)
        outcome = "= " + answered(call, self.lanes.socket(made) if made else "")
        if call.call == "accepted":
            outcome = ""
        waited = f"blocked {duration(call.end - call.begin)}" if call.waited else ""
        start = self._start(moment(call), self._who(call), self.lanes.socket(call.socket))
        # Nearly all calls fit on one plain line, which is quicker to write.
        line = self._short(f"{start} {what} {outcome} {waited}".rstrip(), call)
        if line:
            yield line
        else:
            room = COLUMNS - self._indent - width(outcome) - 1
            fields = [
                (self._indent, cut(what, max(room, 24)), ""),
                (0, outcome, "red" if call.refused else ""),
                (0, waited, "yellow"),
                (_STATES, states(call), "green" if call.moved else "dim"),
                (0, place(call.site), "dim"),
            ]
            yield from self._laid(start, fields)
        if call.errno and call.refused:
            yield from self._remark(reason(call), "red")
        if not call.explained:
            yield from self._remark(doubt(call), "magenta")

    def message(self, message: Message) -> Iterator[str]:
        """Yield what a send moved through an AF_UNIX socket, as an arrow, though no packet exists."""
        call, receiver = message.call, message.receiver
        target = address(call.address or message.socket.remote)
        if receiver is not None:
            target = self.lanes.socket(receiver)
        words = f"{self._ended(message.ended)} (from the calls)".strip()
        fields = [
            (self._indent, f"{self.lanes.socket(call.socket)} --message--> {target}", "cyan"),
            (self._indent + 24, f"len {message.length}", "cyan"),
            (_STATES, words, "dim"),
            (0, "", ""),
        ]
        yield from self._laid(self._start(moment(call), self._nobody, ""), fields)

    def packet(self, packet: Packet) -> Iterator[str]:
        """Yield one packet as an arrow from end to end, with the call that caused it."""
        sender = self.lanes.socket(packet.socket) if packet.socket else address(packet.source)
        target = self.lanes.socket(packet.receiver) if packet.receiver else address(packet.target)
        details = f"len {packet.length}"
        if packet.protocol == "tcp":
            seq, ack = packet.relative
            details = f"seq {seq} {'' if ack is None else f'ack {ack} '}{details}"
        call = packet.call
        words = ", ".join(filter(None, (caused(packet), self._ended(packet.ended))))
        fields = [
            (self._indent, f"{sender} --{flags(packet)}--> {target}", "cyan"),
            (self._indent + 24, details, "cyan"),
            (_STATES, words, "dim"),
            (0, place(call.site) if call is not None else "", "dim"),
        ]
        yield from self._laid(self._start(packet.time, self._nobody, ""), fields)

    def _ended(self, call: Call | None) -> str:
        """`ends recv of #3`: the call whose wait was ended; '' for None."""
        return "" if call is None else f"ends {named(call)} of {self.lanes.socket(call.socket)}"

    def _who(self, call: Call) -> str:
        """The name of the calling thread, padded to the common width."""
        key = call.process.log, call.thread.number
        name = self._names.get(key)
        if name is None:
            room = len(self._nobody)
            who = self.lanes.who(call.process, call.thread)
            name = self._names[key] = pad(cut(plain(who), room), room)
        return name

    def _start(self, time: int, who: str, lane: str) -> str:
        seconds = (time - self.zero) / 1_000_000_000
        return f"{seconds:{_TIME}.6f} {who} {lane:{_SOCKET}}"

    def _short(self, left: str, call: Call) -> str:
        """The whole line if it fits, is plain ASCII and has no colours, as most are; else ''."""
        middle, right = states(call), place(call.site)
        needed = len(middle) + len(right) + 1
        room = COLUMNS - needed - len(left) - 1
        if self._paint.coloured or room < 0 or not (left.isascii() and middle.isascii()):
            return ""
        column = min(max(_STATES, len(left) + 1), COLUMNS - needed)
        line = f"{left:<{column}}{middle:<{COLUMNS - column - len(right)}}{right}"
        return line.rstrip() if line.isprintable() and right.isascii() else ""

    def _laid(self, start: str, fields: list[Field]) -> Iterator[str]:
        """Yield the fields at their columns; one that does not fit begins an indented second line."""
        line, used = self._paint(start[:_TIME], "dim") + start[_TIME:], width(start)
        paint, most = self._paint, COLUMNS - self._indent - 2
        for column, text, colour in fields[:-2]:
            if not text:
                continue
            shown = cut(plain(text), most)
            # Wide letters take two columns, so `len` will not do.
            columns = width(shown)
            blanks = column - used if column > used else 1
            if used + blanks + columns > COLUMNS:
                yield line
                line, used, blanks = "", 0, self._indent + 2
            line += " " * blanks + paint(shown, colour)
            used += blanks + columns
        # The source place is flush right; the states stand before it, if there is room.
        states, site = (cut(plain(text), most) for _, text, _ in fields[-2:])
        needed = width(states) + (width(site) + 1 if site else 0)
        if used + 1 + needed > COLUMNS:
            yield line
            line, used = "", 0
        column = min(max(fields[-2][0], used + 1), COLUMNS - needed)
        if states:
            line += " " * (column - used) + paint(states, fields[-2][2])
            used = column + width(states)
        if site:
            line += " " * (COLUMNS - used - width(site)) + paint(site, fields[-1][2])
        yield line

    def _remark(self, text: str, colour: str) -> Iterator[str]:
        for line in wrap(plain(text), COLUMNS - self._indent - 2):
            yield " " * (self._indent + 2) + self._paint(line, colour)
