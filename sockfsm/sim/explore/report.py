"""What a search has found, in words; and, where it found nothing, what that means."""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.sim.explore.schedule import summary
from sockfsm.sim.explore.search import Found
from sockfsm.sim.scenario import Scenario

_LONGEST = 400


def lines(scenario: Scenario, found: Found) -> Iterator[str]:
    """The faults, each with its schedule, or that there are none."""
    if not found.faults:
        yield f"{scenario.file}: no fault {covered(found)}"
    else:
        many = "faults" if len(found.faults) > 1 else "fault"
        yield f"{scenario.file}: {len(found.faults)} {many} {covered(found)}"
    for number, fault in enumerate(found.faults, 1):
        turns = f"{len(fault.turns)} turn{'s' if len(fault.turns) != 1 else ''}"
        fewest = ", the fewest" if fault.shortest else ", perhaps not the fewest"
        yield f"{number}. {fault.kind}, {turns}{fewest}: {_short(fault.text)}"
        yield f"   {summary(scenario, fault.turns)}"
        if fault.other:
            yield f"   otherwise: {summary(scenario, fault.other)}"
    yield from _aside(scenario, found)


def covered(found: Found) -> str:
    """Which schedules were tried."""
    options = found.options
    states = f"{found.states:,} state{'s' if found.states != 1 else ''}"
    if options.strategy in ("random", "pct"):
        way = f"by PCT of depth {options.bound}" if options.strategy == "pct" else "by chance"
        runs = f"{found.runs:,} schedule{'s' if found.runs != 1 else ''}"
        return f"in {runs} {way} (seed {options.seed}, {states}); others may have one"
    if not found.complete:
        return f"in the {states} nearest to the beginning; there are more, which may have one"
    if options.strategy == "bounded" and found.cut:
        many = f"{options.bound} preemption{'s' if options.bound != 1 else ''}"
        return f"in any schedule with at most {many} ({states}); those with more were not tried"
    return f"in any schedule ({states})"


def _aside(scenario: Scenario, found: Found) -> Iterator[str]:
    options, network = found.options, scenario.network
    if options.losses:
        many = f"{options.losses} packet{'s' if options.losses != 1 else ''}"
        yield f"   In each of them at most {many} may be lost."
    if network.jitter or network.duplication:
        yield "   The network's jitter and duplicates were not explored: packets keep their order."
    if options.ignored:
        yield f"   Not looked for: {', '.join(sorted(options.ignored))}."


def _short(text: str) -> str:
    """At most a few lines: what a scenario sends may be long."""
    return (
        text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    )
