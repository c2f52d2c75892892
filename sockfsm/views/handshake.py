"""Prints how connections opened, what they carried and how they ended.

Each connection has a ladder of its segments, with the client's TCP state after each one on the left and
the server's on the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.tcp_path import SegmentStep, walk
from sockfsm.views.phrases import place, spelled, spoken
from sockfsm.views.text import Paint, address, count, cut, duration, plain
from sockfsm.wire.findings import (
    CLIENT,
    CLOSINGS,
    OPENINGS,
    Closing,
    Connection,
    Datagrams,
    Direction,
    Opening,
    Report,
    Segment,
)
from sockfsm.wire.headers import TcpOptions

_TIME, _STATE, _ARROW = 11, 12, 58
_GOOD = ("normal", "self-connect", "simultaneous")


def lines(
    report: Report,
    paint: Paint,
    problems: Iterable[str] = (),
    *,
    heading: str = "",
    kernel: KernelPaths | None = None,
) -> Iterator[str]:
    """Yield the report as lines of at most 100 columns.

    problems: notes to add at the end. heading: the name of the source. kernel: the kernel's own states,
    where they were recorded.
    """
    connections, talks = report.connections, report.conversations
    summary = f"{count(len(connections), 'connection')}, {count(len(talks), 'UDP conversation')}"
    yield f"{heading}: {summary}" if heading else summary
    for connection in connections:
        yield ""
        yield from of_connection(connection, paint)
        if kernel is not None:
            yield from _kernel(connection, kernel, paint)
    if talks:
        yield ""
        yield paint("UDP (no handshake: datagrams only)", "bold")
        for talk in talks:
            yield from _datagrams(talk)
    # The list is complete only now: reading the file has added to it.
    notes = [plain(problem) for problem in problems]
    if notes:
        yield ""
    for note in notes:
        yield from (paint(line, "red") for line in _wide("NOTE", note))


def of_connection(connection: Connection, paint: Paint) -> Iterator[str]:
    """Yield one connection: its headline, opening, ladder, data, closing and states."""
    opening, closing = connection.opening, connection.closing
    ends = f"{address(connection.client)} -> {address(connection.server)}"
    yield paint(f"#{connection.number} {ends}", "bold")
    yield from _opening(connection, paint)
    client, server, steps = walk(connection)
    yield from _ladder(connection, steps, paint)
    yield from _data(connection)
    yield from _closing(closing, paint)
    if connection.ignored:
        text = f"{count(len(connection.ignored), 'segment')} (?!) that the other end must ignore"
        yield f"  {'ignored':8} {paint(text, 'red')}"
    yield from _wide("client", " > ".join(client))
    yield from _wide("server", " > ".join(server))
    if opening.kind == "self-connect":
        yield "  client and server are the same socket"


def _kernel(connection: Connection, kernel: KernelPaths, paint: Paint) -> Iterator[str]:
    recorded = kernel.of(connection)
    differing = difference(connection, recorded)
    for who, states in zip(("client", "server"), recorded, strict=True):
        if states:
            yield from _wide("kernel", f"{who} {' > '.join(states)}")
    if differing:
        yield from (paint(line, "red") for line in _wide("DIFFERS", differing))


def _opening(connection: Connection, paint: Paint) -> Iterator[str]:
    opening = connection.opening
    colour = "green" if opening.kind in _GOOD else "yellow" if _partly(opening) else "red"
    text = f"{opening.kind}: {OPENINGS[opening.kind]}"
    if opening.round_trip is not None:
        text += f", round trip {duration(opening.round_trip)}"
    if opening.tries > 1:
        text += f", {opening.tries} SYNs"
    yield f"  {'opening':8} {paint(text, colour)}"
    if opening.note:
        yield f"  {'':8} {paint(opening.note, 'yellow')}"
    firsts = {s.sender: s.seq for s in opening.segments if "S" in s.flags}
    if firsts:
        numbers = ", ".join(f"{who} {number}" for who, number in firsts.items())
        yield f"  {'':8} first sequence numbers: {numbers}"


def _partly(opening: Opening) -> bool:
    return opening.kind in ("mid-stream", "incomplete", "unanswered", "not accepted")


def _ladder(connection: Connection, steps: tuple[SegmentStep, ...], paint: Paint) -> Iterator[str]:
    blank = " " * _TIME
    # Plain data has no arrow of its own. Its number is shown once before and once after the first
    # FIN.
    before, later, last = _passing(connection)
    for number, step in enumerate(steps):
        if before and number == len(connection.opening.segments):
            yield _passed(before)
            before = 0
        if later and step.segment.after > last:
            yield _passed(later)
            later = 0
        yield _rung(step.segment, step.client, step.server, paint, step.strange)
        cause = calls_behind(step.segment)
        if cause:
            yield f"  {blank} {'':{_STATE}} {cut(cause, _ARROW).center(_ARROW).rstrip()}"
        if step.segment.offered:
            yield f"  {blank} {'':{_STATE}} {_offer(step.segment.offered).center(_ARROW).rstrip()}"
    for number in filter(None, (before, later)):
        yield _passed(number)


def calls_behind(segment: Segment) -> str:
    """`by connect(...) at FILE:LINE`: the calls that sent this segment; '' if none was traced."""
    calls = segment.cause.calls if segment.cause is not None else ()
    # Plain acknowledgements and data are listed for their states; their calls are the data's.
    if not calls or segment.flags in ("A", "PA"):
        return ""
    first, last = calls[0], calls[-1]
    more = f" and {spoken(last)}" if last is not first else ""
    where = f" at {place(last.site, 40)}" if last.site else ""
    return f"by {spoken(first)}{more}{where}"


def _passing(connection: Connection) -> tuple[int, int, int]:
    """Data segments left out of the ladder: (before the first FIN, after it, time of the last one)."""
    both, closing = (connection.sent, connection.received), connection.closing
    listed = connection.opening.segments + closing.segments
    shown = len({segment for segment in listed if segment.length})
    later = closing.half_close_segments
    last = max((direction.last for direction in both if direction.last is not None), default=0)
    return sum(direction.segments for direction in both) - shown - later, later, last


def _passed(segments: int) -> str:
    text = f" {count(segments, 'data segment')} ".center(_ARROW, ".")
    return f"  {' ' * _TIME} {'':{_STATE}} {text}"


def _rung(segment: Segment, client: str, server: str, paint: Paint, strange: bool) -> str:
    text = f" {spelled(segment.flags)} seq={segment.relative_seq}"
    if segment.relative_ack is not None:
        text += f" ack={segment.relative_ack}"
    if segment.length:
        text += f" len={segment.length}"
    if "R" not in segment.flags:
        text += f" win={segment.window}"
    mark = " ?! " if strange else " "
    text = cut(text, _ARROW - 1 - len(mark)) + mark
    if segment.sender == CLIENT:
        arrow = text.center(_ARROW - 1, "-") + ">"
    else:
        arrow = "<" + text.center(_ARROW - 1, "-")
    colour = "red" if "R" in segment.flags or strange else "cyan"
    # If the clock was set back, a segment can seem to be earlier than the first one.
    time = f"{'-' if segment.after < 0 else '+'}{duration(abs(segment.after))}"
    return f"  {time:>{_TIME}} {client:>{_STATE}} {paint(arrow, colour)} {server}"


def _offer(offered: TcpOptions) -> str:
    options = []
    if offered.mss is not None:
        options.append(f"mss {offered.mss}")
    if offered.sack:
        options.append("sack")
    if offered.timestamps is not None:
        options.append(f"timestamp {offered.timestamps[0]}")
    if offered.scale is not None:
        options.append(f"window x {1 << offered.scale}")
    if not offered.sound:
        options.append("nonsense options")
    return ", ".join(options) or "no options"


def _data(connection: Connection) -> Iterator[str]:
    if not connection.sent.segments and not connection.received.segments:
        yield f"  {'data':8} none"
        return
    yield from _wide("data", f"client sent {_direction(connection.sent)}")
    yield from _wide("", f"server sent {_direction(connection.received)}")


def _wide(label: str, text: str) -> Iterator[str]:
    """Yield `text` after a label, on as many lines as it needs."""
    first, *more = wrap(text, 87, break_long_words=False) if len(text) > 87 else (text,)
    yield f"  {label:8} {first}"
    yield from (f"  {'':8}   {line}" for line in more)


def _direction(data: Direction) -> str:
    text = f"{count(data.bytes, 'byte')} in {count(data.segments, 'segment')}"
    for number, what in ((data.retransmitted, "retransmitted"), (data.late, "late")):
        if number:
            text += f", {number} {what}"
    if data.zero_windows:
        text += f", {count(data.zero_windows, 'zero window')}"
    if data.missing:
        text += f", {data.missing} bytes not captured"
    return text


def _closing(closing: Closing, paint: Paint) -> Iterator[str]:
    label = f"  {'closing':8}"
    colour = "red" if closing.kind == "reset" else "green" if closing.complete else "yellow"
    text = f"{closing.kind}: {CLOSINGS[closing.kind]}"
    if closing.kind == "orderly":
        first = f"{closing.first} closed first, {closing.fin_segments} segments"
        text = f"orderly: {first}, half closed for {duration(closing.half_close or 0)}"
    elif closing.kind == "half-closed":
        text += f" (FIN by the {closing.first})"
    yield f"{label} {paint(text, colour)}"
    blank = " " * len(label)
    if closing.half_close_bytes:
        yield f"{blank} {count(closing.half_close_bytes, 'byte')} sent after the first FIN"
    if closing.reset_by:
        yield f"{blank} {paint(f'RST by the {closing.reset_by}', 'red')}: {closing.reset_cause}"
    if closing.note:
        yield f"{blank} {paint(closing.note, 'yellow')}"
    if closing.time_wait:
        yield f"{blank} TIME_WAIT is owed by {' and '.join(closing.time_wait)}"
    if closing.left_out:
        yield f"{blank} {count(closing.left_out, 'more segment')} of the closing not shown"


def _datagrams(talk: Datagrams) -> Iterator[str]:
    ends = f"{address(talk.client)} -> {address(talk.server)}"
    sent, received = talk.sent, talk.received
    yield (
        f"  {ends}: {count(sent[0], 'datagram')}, {sent[1]} bytes;"
        f" back {received[0]}, {received[1]} bytes"
    )
