"""The header and the footer of a timeline: the processes and sockets, and the totals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from textwrap import wrap
from typing import TYPE_CHECKING

from sockfsm.events import Process, Socket
from sockfsm.views.incomplete import incomplete
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import place
from sockfsm.views.text import Paint, address, count, cut, cut_front, duration, pad, plain
from sockfsm.views.totals import CLOSED, DETACHED, EXITED, Totals

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

COLUMNS = 100
_LISTED = 30  # the most entries of a list; a header must not push the timeline off the screen
_TITLE = 10


def header(trace: TraceSource, lanes: Lanes, paint: Paint) -> Iterator[str]:
    """Yield the trace, its processes and its sockets. A long list is cut, and says so."""
    yield paint(cut(_titled("trace", plain(trace.name)), COLUMNS), "bold")
    processes = lanes.processes
    for number, process in enumerate(processes[:_LISTED]):
        yield _titled("" if number else "program", _program(process, lanes))
    if len(processes) > _LISTED:
        yield _titled("", f"and {count(len(processes) - _LISTED, 'process', 'processes')} more")
    sockets = list(lanes.sockets.values())
    if sockets:
        title = f"{'':4} {'kind':11} {'made by':15} {'own name':21} {'peer':21} last state"
        yield paint(_titled("sockets", title), "dim")
    for socket in sockets[:_LISTED]:
        yield _titled("", _socket(socket, lanes)).rstrip()
    if len(sockets) > _LISTED:
        yield _titled("", f"and {count(len(sockets) - _LISTED, 'socket')} more")
    yield ""


def _titled(title: str, text: str) -> str:
    return f"{title:{_TITLE}}{text}"


def _program(process: Process, lanes: Lanes) -> str:
    if process.ended is None:
        about = f"pid {process.pid}, end not seen"
    else:
        about = f"pid {process.pid}, ran {duration(process.ended - process.started)}"
    threads = len(lanes.threads_of(process))
    if threads > 1:
        about += f", {count(threads, 'thread')}"
    lane = "" if lanes.lonely else lanes.process(process) + " "
    command = plain(" ".join(process.command)) or "(unknown)"
    room = COLUMNS - _TITLE - len(lane) - len(about) - 3
    return f"{lane}{cut(command, room)} ({about})"


def _socket(socket: Socket, lanes: Lanes) -> str:
    made = socket.made_by
    if socket.parent is not None and socket.parent in lanes.sockets:
        made += f" by {lanes.socket(lanes.sockets[socket.parent])}"
    made = pad(cut(plain(made), 15), 15)
    name = pad(cut_front(address(socket.local), 21), 21)
    peer = pad(cut_front(address(socket.remote), 21), 21)
    state = cut(plain(lanes.states.get(socket.identity, "")), 13)
    return f"{lanes.socket(socket):4} {cut(plain(socket.kind), 11):11} {made} {name} {peer} {state}"


def footer(
    trace: TraceSource, lanes: Lanes, paint: Paint, totals: Totals, zero: int
) -> Iterator[str]:
    """Yield the totals, refusals, ends of sockets, blocked calls, and what could not be read.

    zero: the start of the timeline, monotonic ns.
    """
    yield ""
    total = f"{count(totals.calls, 'call')}, {count(totals.packets, 'packet')}"
    if totals.waits:
        total += f", {count(totals.waits, 'wait')} of {duration(totals.blocked)} together"
    yield _titled("total", f"{total}, {totals.sent:,} B sent, {totals.received:,} B received")
    for title, counts in (("refused", totals.refusals), ("failed", totals.failures)):
        yield from (paint(line, "red") for line in _refusals(title, counts))
    if totals.unexplained:
        text = f"{count(totals.unexplained, 'call')} that no rule of the model explains"
        yield paint(_titled("doubtful", text), "magenta")
    yield from _endings(lanes, totals)
    for wait in trace.blocked()[:_LISTED]:
        since = (wait.begin - zero) / 1_000_000_000
        text = f"{lanes.socket(wait.socket)} {plain(wait.method)}() since {since:.6f}"
        yield paint(cut(_titled("blocked", f"{text}  {place(wait.site)}"), COLUMNS), "yellow")
    facts = trace.facts
    recorded = (("capture", facts.capture), ("kernel", facts.kernel_states))
    for title, sentence in (("network", facts.network), *recorded):
        if sentence is not None:
            yield from (paint(line, "dim") for line in wrapped(title, plain(sentence)))
    for line in incomplete(trace):
        yield from (paint(part, "magenta") for part in wrapped("note", line))


def _refusals(title: str, counts: dict[tuple[str, str, str], int]) -> Iterator[str]:
    # The most frequent ones first: a loop that is refused a million times matters most.
    ranked = sorted(counts.items(), key=lambda entry: -entry[1])
    for number, ((method, state, outcome), times) in enumerate(ranked[:_LISTED]):
        often = f" ({times:,} times)" if times > 1 else ""
        in_state = f" in {plain(state)}" if state else ""
        yield _titled(
            "" if number else title, f"{plain(method)}{in_state}: {plain(outcome)}{often}"
        )
    if len(ranked) > _LISTED:
        yield _titled("", f"and {len(ranked) - _LISTED:,} other kinds")


def _endings(lanes: Lanes, totals: Totals) -> Iterator[str]:
    """Yield how the sockets that were shown ended, even if their end was not selected."""
    states = {identity: lanes.states.get(identity, "?") for identity in totals.sockets}
    # Counted from the last states in the whole trace, because a socket's end may not be selected.
    closed = sum(state == CLOSED for state in states.values())
    detached = sum(state == DETACHED for state in states.values())
    exited = sum(state == EXITED for state in states.values())
    if closed:
        yield _titled("closed", count(closed, "socket"))
    if detached:
        yield _titled("detached", count(detached, "socket"))
    if exited:
        yield _titled("open", f"{count(exited, 'socket')} when the process ended")
    # A closed socket that has left its path behind is listed, because that is worth knowing.
    usual = (CLOSED, DETACHED, EXITED)
    left = {identity: state for identity, state in states.items() if state not in usual}
    shown = [
        f"{lanes.name_of(identity)} {plain(state)}"
        for identity, state in islice(left.items(), _LISTED)
    ]
    if len(left) > _LISTED:
        shown.append(f"and {len(left) - _LISTED:,} more")
    if shown:
        yield from wrapped("left", ", ".join(shown))


def wrapped(title: str, text: str) -> Iterator[str]:
    """Yield `text` behind its title, on as many lines as it needs."""
    for number, line in enumerate(wrap(text, COLUMNS - _TITLE) or [""]):
        yield _titled("" if number else title, line)
