"""Which calls are blocked right now, or were when the traced program ended."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic_ns
from typing import TYPE_CHECKING

from sockfsm.events import Process, Thread, Wait
from sockfsm.trace.decode import alive
from sockfsm.views.incomplete import incomplete
from sockfsm.views.lanes import Lanes
from sockfsm.views.text import Paint, address, cut, cut_front, duration, plain

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource


def lines(trace: TraceSource, paint: Paint | None = None) -> Iterator[str]:
    """Yield two lines for each blocked call, the longest wait first."""
    paint = paint or Paint(False)
    lanes = Lanes(trace)
    # A wait names its thread by the kernel's number, which is unique on the machine.
    owners = {
        thread.ident: process for process in lanes.processes for thread in process.threads.values()
    }
    waits = sorted(trace.blocked(), key=lambda wait: wait.begin)
    if not waits:
        yield "no call is blocked"
    for wait in waits:
        process = owners.get(wait.thread.ident)
        where = plain(str(wait.site)) if wait.site is not None else "(unknown place)"
        text = f"{_span(wait, process)}  {plain(wait.method)}() on {_on(wait, lanes)}"
        yield paint(cut(text, 100), "yellow")
        who = cut(f"    {_who(process, wait.thread)} at ", 60)
        yield who + cut_front(where, 100 - len(who))
    yield from (paint(line, "magenta") for line in incomplete(trace))


def _span(wait: Wait, process: Process | None) -> str:
    if process is not None and alive(process):
        return f"blocked for {duration(max(monotonic_ns() - wait.begin, 0))}"
    return "was blocked at the end"


def _on(wait: Wait, lanes: Lanes) -> str:
    if wait.socket is None:
        return "no socket"
    socket = wait.socket
    peer = f" -> {address(socket.remote)}" if socket.remote is not None else ""
    return f"{lanes.socket(socket)} {plain(socket.kind)} {address(socket.local)}{peer}"


def _who(process: Process | None, thread: Thread) -> str:
    pid = f"pid {process.pid} " if process is not None else ""
    return f"{pid}thread {plain(thread.name)} ({thread.ident})"
