"""Runs the showings: outcomes that no sequence of calls produces by itself, each on a stage of its own.

A showing predicts the outcome of each call, and names the facts of the environment that it depends on.
The rule behind an outcome is the first one that fits the situation and these facts. The tracer's model
must explain each outcome, and must not refuse what the kernel takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from socket import socket

from sockfsm.conform.bench import Bench
from sockfsm.conform.showing import Showing
from sockfsm.conform.showings import SHOWINGS
from sockfsm.conform.stages import StageError
from sockfsm.conform.traced import Tracer, tracing
from sockfsm.conform.watch import Watch
from sockfsm.errors import UsageError
from sockfsm.model.kinds import table_of
from sockfsm.model.predict import environment
from sockfsm.model.rules import Parts, Rule, Table
from sockfsm.model.variants import VARIANTS
from sockfsm.wire.namespace import NamespaceError, enter

_WITHOUT_OBJECT = frozenset({"START", "RESOLVED", "EXITED"})
"""States without a socket object, so a tracer knows nothing of it."""
_Step = tuple[str, str, dict[str, str]]


def rules_of(showing: Showing) -> list[Rule]:
    """The rule behind each outcome. LookupError if there is none."""
    table = table_of(showing.kind)
    parts = table.initial
    if showing.birth:
        born = table.predict(showing.birth, parts, table.reference)
        assert born is not None
        parts = table.after(born, parts)
    steps = tuple((call, out, environment(table, facts)) for call, out, facts in showing.steps)
    for way in _ways(table, parts, steps):
        return way
    raise LookupError(f"{showing.title}: no rules for {showing.script}")


def _ways(table: Table, parts: Parts, steps: tuple[_Step, ...]) -> Iterator[list[Rule]]:
    """Yield the sequences of rules that fit the steps, the likeliest first. Later steps decide."""
    if not steps:
        yield []
        return
    (call, outcome, known), later = steps[0], steps[1:]
    for entry in table.fitting(call, parts):
        if entry.outcome == outcome and all(c.holds(known[c.name]) for c in entry.given):
            for way in _ways(table, table.after(entry, parts), later):
                yield [entry, *way]


def show(title: str, traced: bool = False) -> list[str]:
    """Run it in this process; returns how the kernel or the model differs. UsageError: no such stage.

    traced: trace the sockets as well, and compare what the tracer says.
    """
    showing = SHOWINGS[title]
    if showing.alone and os.geteuid():
        raise UsageError(f"{title} needs root, for a network of its own")
    try:
        if showing.alone:
            enter()
        with ExitStack() as stack:
            tracer = stack.enter_context(tracing()) if traced and showing.stage.pythonic else None
            return _shown(showing, stack.enter_context(showing.stage()), tracer)
    except (NamespaceError, StageError) as error:
        raise UsageError(f"{title}: {error}") from error


def _shown(showing: Showing, stage: Bench, tracer: Tracer | None) -> list[str]:
    watch, sock, faults = Watch(showing.kind, showing.birth), stage.begin(), []
    try:
        for call, outcome, facts in showing.lines:
            if call.startswith("!"):
                stage.act_out(call[1:])
                continue
            seen = stage.step(sock, call)
            if seen != outcome:
                return [f"{showing.title}: {call} gave {seen}, not {outcome}"]
            words = [word for word, needed in VARIANTS.items() if needed.items() <= facts.items()]
            fault = watch.step(call, outcome, " ".join(words))
            if not fault and tracer is not None and watch.state not in _WITHOUT_OBJECT:
                fault = _told(tracer, stage.tried(sock), watch, facts)
            if fault:
                faults.append(f"{showing.title}: {call}: {fault}")
    finally:
        stage.dispose(sock)
    if tracer is not None:
        faults += (f"{showing.title}: the trace cannot explain {call.method} = {call.outcome}"
                   for call in tracer.unexplained())  # fmt: skip
    return faults


def _told(tracer: Tracer, sock: socket, watch: Watch, facts: dict[str, str]) -> str:
    """How the tracer differs. For TLS it knows more: whether the stream below has ended."""
    if facts.get("layer") == "tls":
        told = tracer.states(sock)
        watch.state = told if set(told.split("|")) <= set(watch.states) else watch.state
    return tracer.differs(sock, watch.state)


def show_all(titles: Iterable[str], traced: bool = False) -> list[str]:
    """Run them in a process of their own, for signals go to the main thread; returns what differs."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return [
            fault for faults in pool.map(partial(show, traced=traced), titles) for fault in faults
        ]


@dataclass(frozen=True)
class Shown:
    """The result of a showing. absent: why it cannot be run here, else ''."""

    title: str
    faults: tuple[str, ...]
    absent: str


def _attempt(title: str, traced: bool) -> Shown:
    try:
        return Shown(title, tuple(show(title, traced)), "")
    except UsageError as error:
        return Shown(title, (), str(error).removeprefix(title).lstrip(": "))


def attempt_all(
    kind: str, traced: bool = False, progress: Callable[[int, int, str], None] | None = None
) -> list[Shown]:
    """Run all showings of a kind ('' for all kinds), and say which cannot be run here."""
    titles = [title for title, showing in SHOWINGS.items() if kind in ("", showing.kind)]
    found = []
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for done, result in enumerate(pool.map(partial(_attempt, traced=traced), titles), 1):
            found.append(result)
            if progress is not None:
                progress(done, len(titles), result.title)
    return found
