"""Writes a trace as CSV, a row for each call or packet, for spreadsheets and data frames.

Text from outside is escaped as for a terminal. What a spreadsheet would take for a formula, even after
blanks, gets an apostrophe in front. What the trace lacks comes last, in rows of the type `lost`: how
many in `bytes` (empty if unknown), from when to when, why in `outcome`, and the whole sentence in
`cause`. Damage has rows of the type `problem`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from sockfsm.events import Call, Lost, Packet
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import events
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import caused, flags
from sockfsm.views.text import address, plain
from sockfsm.views.timeline import zero_of

COLUMNS = (
    "type", "at_ns", "wall_ns", "took_ns", "pid", "thread", "socket", "what", "outcome", "bytes",
    "source", "target", "before", "after", "waited", "seq", "ack", "window", "file", "line", "cause",
)  # fmt: skip


def lines(trace: TraceSource) -> Iterator[str]:
    """Yield the header and the rows, without line ends."""
    lanes = Lanes(trace, index=True)
    zero = zero_of(lanes.processes)
    yield ",".join(COLUMNS)
    for _, _, event, *_ in events(trace):
        if isinstance(event, Call):
            yield _row(_call(event, lanes, zero))
        elif isinstance(event, Packet):
            yield _row(_packet(event, lanes, zero))
        # A message's bytes are in the row of its call.
    told = {lost.text: lost for lost in trace.losses}
    for lost in told.values():
        yield _row(_lost(lost, zero + lanes.processes[0].clock if lanes.processes else 0))
    for problem in dict.fromkeys(trace.problems):
        if problem not in told:
            yield _row(("problem", *[None] * (len(COLUMNS) - 2), problem))


def _row(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(map(_cell, values))
    return text.getvalue()


_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 - spreadsheets accept the wide ones, too


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    text = plain(value)
    return "'" + text if text.lstrip(" '\"").startswith(_FORMULA) else text


def _call(call: Call, lanes: Lanes, zero: int) -> tuple[object, ...]:
    socket, site = call.socket, call.site
    moves = call.call in ("send", "recv")
    return (
        "call", call.begin - zero, call.wall, call.end - call.begin, call.process.pid,
        call.thread.name, lanes.socket(socket) if socket else "", call.method, call.outcome,
        call.done if moves else None,
        address(socket.local) if socket and socket.local else "",
        address(call.address) if call.address is not None else "",
        call.before, call.after, int(call.waited), None, None, None,
        site.file if site else "", site.line if site else None, "",
    )  # fmt: skip


def _lost(lost: Lost, zero: int) -> tuple[object, ...]:
    """The row of a loss. zero: the start of the trace, wall ns."""
    took = lost.until - lost.since if lost.since and lost.until else None
    return (
        "lost", lost.since - zero if lost.since else None, lost.since or None, took, None, None, None,
        lost.what, lost.why, lost.count or None, lost.where, *[None] * 9, lost.text,
    )  # fmt: skip


def _packet(packet: Packet, lanes: Lanes, zero: int) -> tuple[object, ...]:
    call = packet.call
    site = call.site if call else None
    return (
        "packet", packet.time - zero, packet.wall, None, call.process.pid if call else None,
        call.thread.name if call else "", lanes.socket(packet.socket) if packet.socket else "",
        flags(packet), "", packet.length, address(packet.source), address(packet.target),
        "", "", None, packet.seq, packet.ack, packet.window,
        site.file if site else "", site.line if site else None, caused(packet),
    )  # fmt: skip
