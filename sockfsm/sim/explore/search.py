"""Searches the schedules of a scenario. States that are equal are visited once, nearest first.

A schedule ends where something is not as expected: what would follow is no finding of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sockfsm.sim.explore.chance import Chooser, Pct, Uniform
from sockfsm.sim.explore.engine import Engine
from sockfsm.sim.explore.findings import Fault, Findings, Path, gravest
from sockfsm.sim.explore.memory import State
from sockfsm.sim.explore.reduction import Reduction
from sockfsm.sim.explore.world import Turn
from sockfsm.sim.scenario import Scenario

STRATEGIES = ("exhaustive", "bounded", "pct", "random")
MOST_STATES = 1_000_000
_OFTEN = 1 << 10
"""States, or runs, between two calls of `progress`."""

Progress = Callable[[int, int | None, str], None]
"""Hears how much is done, of how much if that is known, and of what."""


_Entry = tuple[bytes, int | None, int]
"""A state, who has run last, and its number in the path."""


@dataclass
class Options:
    """How to search.

    bound: preemptions of `bounded`, depth of `pct`. runs: of `pct` and `random`. losses: packets that
    may be lost in one schedule. ignored: kinds of fault that are not looked for. reduced: whether
    turns that do not meet are tried in one order alone.
    """

    strategy: str = "exhaustive"
    bound: int = 2
    runs: int = 1000
    seed: int = 0
    losses: int = 0
    most: int = MOST_STATES
    ignored: frozenset[str] = frozenset()
    reduced: bool = True


@dataclass
class Found:
    """What a search has found. complete: nothing within its bounds was left out.

    cut: schedules were left out that need more preemptions. runs: how many were made by chance.
    """

    options: Options
    states: int = 0
    ends: int = 0
    runs: int = 0
    complete: bool = True
    cut: bool = False
    faults: list[Fault] = field(default_factory=list)


def explore(scenario: Scenario, options: Options, progress: Progress | None = None) -> Found:
    """Search the schedules of a scenario."""
    return _Search(scenario, options, progress or (lambda done, of, what: None)).run()


class _Search:
    def __init__(self, scenario: Scenario, options: Options, progress: Progress) -> None:
        self._scenario, self._options, self._progress = scenario, options, progress
        self._engine = Engine(scenario, options.losses)
        self._found = Found(options)
        self._states = self._ends = 0

    def run(self) -> Found:
        options, found = self._options, self._found
        strategy = options.strategy
        if strategy == "exhaustive":
            findings = self._exhaustive()
        elif strategy == "bounded":
            findings = self._bounded()
        else:
            findings = self._by_chance()
        found.faults = findings.faults()
        if found.faults:
            self._shorten(found.faults)
        return found

    def _findings(self) -> Findings:
        return Findings(self._scenario, self._options.ignored)

    def _exhaustive(self) -> Findings:
        reduction = Reduction(self._engine) if self._options.reduced else None
        while True:
            learned = self._engine.growth
            findings = self._findings()
            found = self._found
            found.complete = self._breadth_first(findings, reduction)
            found.states, found.ends = self._states, self._ends
            if reduction is None or not found.complete or learned == self._engine.growth:
                return findings

    def _breadth_first(
        self, findings: Findings, reduction: Reduction | None,
        wanted: Callable[[Findings, int], bool] = lambda findings, far: True,
    ) -> bool:  # fmt: skip
        """Visit all states, nearest first; whether there was room for them.

        wanted: whether to go on to the states so many turns away.
        """
        engine, memory, path = self._engine, self._engine.memory, Path()
        key = memory.packed(engine.first)
        seen = {key}
        level = deque([key])
        far = number = ends = 0
        while level and wanted(findings, far) and len(seen) <= self._options.most:
            far += 1
            for _ in range(len(level)):
                state = memory.unpacked(level.popleft())
                turns, asked = engine.turns(state)
                state = engine.wide(state)
                if not turns:
                    ends += 1
                    self._judge_end(state, findings, path.turns(number))
                elif reduction is not None:
                    turns = reduction.chosen(state, turns, asked)
                for turn, effect in turns:
                    if (effect.failures or effect.results) and not findings.note(
                        effect, path, number, turn
                    ):
                        continue
                    key = memory.packed(engine.after(state, effect))
                    if key not in seen:
                        seen.add(key)
                        level.append(key)
                        path.add(number, turn)
                number += 1
                if not number % _OFTEN:
                    self._progress(number, None, f"states, {far} turns deep")
        self._states, self._ends = len(seen), ends
        return len(seen) <= self._options.most

    def _judge_end(self, state: State, findings: Findings, turns: list[Turn]) -> None:
        engine = self._engine
        engine.memory.restore(state)
        for failure in engine.world.verdict():
            findings.add(failure, turns)

    def _bounded(self) -> Findings:
        """States with who has run last, those that need fewer preemptions first."""
        engine, options, findings = self._engine, self._options, self._findings()
        memory, path, found = engine.memory, Path(), self._found
        level: deque[_Entry] = deque([(memory.packed(engine.first), None, 0)])
        later: deque[_Entry] = deque()
        seen: set[tuple[bytes, int | None]] = set()
        used = 0
        while level or later:
            if not level:
                level, later = later, level
                used += 1
            key, last, number = level.popleft()
            if (key, last) in seen:
                continue
            seen.add((key, last))
            state = memory.unpacked(key)
            turns, _ = engine.turns(state)
            state = engine.wide(state)
            if not turns:
                found.ends += 1
                self._judge_end(state, findings, path.turns(number))
            goes_on = any(turn.who == last for turn, _ in turns)
            for turn, effect in turns:
                preempts = goes_on and turn.who != last
                if preempts and used == options.bound:
                    found.cut = True
                elif findings.note(effect, path, number, turn):
                    entry = memory.packed(engine.after(state, effect)), turn.who
                    if entry not in seen:
                        queue = later if preempts else level
                        queue.append((*entry, path.add(number, turn)))
            if not len(seen) % _OFTEN:
                self._progress(len(seen), None, f"states, {used} preemptions")
            if len(seen) > options.most:
                found.complete = False
                break
        found.states = len({key for key, _ in seen})
        return findings

    def _by_chance(self) -> Findings:
        options, findings = self._options, self._findings()
        seen: set[bytes] = set()
        length = 0
        for run in range(options.runs):
            chooser: Chooser = Uniform((options.seed, run))
            if options.strategy == "pct" and run:
                chooser = Pct((options.seed, run), options.bound, length)
            random = Random(f"variant {options.seed} {run}")
            length = max(length, self._walk(chooser, random, findings, seen))
            self._found.runs += 1
            if not self._found.runs % (_OFTEN >> 3):
                self._progress(self._found.runs, options.runs, "schedules")
        self._found.states = len(seen)
        return findings

    def _walk(
        self, chooser: Chooser, random: Random, findings: Findings, seen: set[bytes]
    ) -> int:  # fmt: skip
        """One schedule; how many turns it has."""
        engine, path, number = self._engine, Path(), 0
        state = engine.first
        while True:
            turns, _ = engine.turns(state)
            state = engine.wide(state)
            seen.add(engine.memory.packed(state))
            if not turns:
                self._found.ends += 1
                self._judge_end(state, findings, path.turns(number))
                return number
            ready = list(dict.fromkeys(turn.who for turn, _ in turns))
            who = ready[chooser.choose(ready)] if len(ready) > 1 else ready[0]
            mine = [entry for entry in turns if entry[0].who == who]
            turn, effect = mine[random.randrange(len(mine))]
            if not findings.note(effect, path, number, turn):
                return number
            number = path.add(number, turn)
            state = engine.after(state, effect)

    def _shorten(self, faults: list[Fault]) -> None:
        """Look for a schedule with the fewest turns for each fault, among all of them."""
        longest = max(len(fault.turns) for fault in faults)
        keys = {fault.key for fault in faults}

        def wanted(findings: Findings, far: int) -> bool:
            return far <= longest and not keys <= {fault.key for fault in findings.faults()}

        nearest = self._findings()
        whole = self._breadth_first(nearest, None, wanted)
        found = {fault.key: fault for fault in nearest.faults()}
        for fault in faults:
            near = found.get(fault.key, fault)
            fault.turns, fault.other = near.turns, near.other
            fault.shortest = whole or near is not fault
        faults.sort(key=gravest)
