"""What a search has found: each fault with a schedule that leads to it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from sockfsm.sim.explore.engine import Effect, Result
from sockfsm.sim.explore.world import Turn
from sockfsm.sim.run import Failure
from sockfsm.sim.scenario import ANY, Scenario

KINDS = {
    "deadlock": "somebody is blocked for ever",
    "illegal": "a call that the machine refuses, and the scenario does not expect to be refused",
    "exception": "an exception leaves a program",
    "expected": "something is not as the scenario expects",
    "open": "a socket is still open when its program ends",
    "differs": "a call ends in more than one way, and the scenario does not say `?`",
}
"""The kinds of fault, in the order in which they are told."""


@dataclass
class Fault:
    """Something wrong, and the turns that lead to it.

    shortest: whether no schedule with fewer turns leads to it. other: of a call whose outcome differs,
    the turns that lead to another one.
    """

    kind: str
    text: str
    turns: list[Turn]
    shortest: bool = False
    other: list[Turn] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """Two faults with the same key are one."""
        return self.kind, self.text


class Path:
    """The states that were reached, each by its number, and how: for any of them its turns."""

    def __init__(self) -> None:
        self._before = array("i", [-1])
        self._turns = array("i", [-1])
        self._known: dict[Turn, int] = {}
        self._list: list[Turn] = []

    def __len__(self) -> int:
        return len(self._before)

    def add(self, before: int, turn: Turn) -> int:
        """A state that was reached from another; its number."""
        number = self._known.get(turn)
        if number is None:
            number = self._known[turn] = len(self._list)
            self._list.append(turn)
        self._before.append(before)
        self._turns.append(number)
        return len(self._before) - 1

    def turns(self, number: int) -> list[Turn]:
        """All turns from the beginning to a state."""
        found = []
        while number > 0:
            found.append(self._list[self._turns[number]])
            number = self._before[number]
        return found[::-1]


class Findings:
    """Faults, the first schedule that came to each, and the ways in which each call has ended."""

    def __init__(self, scenario: Scenario, ignored: frozenset[str] = frozenset()) -> None:
        self._file = scenario.file
        self._ignored = ignored
        self._loose = {
            (actor.name, step.line)
            for actor in scenario.actors
            for step in actor.steps
            if step.outcome == ANY
        }
        self._faults: dict[tuple[str, str], Fault] = {}
        self._ways: dict[tuple[str, int], dict[tuple[str, bytes | None], list[Turn]]] = {}
        self._wrong: set[str] = set()

    def note(self, effect: Effect, path: Path, before: int, turn: Turn) -> bool:
        """Judge a turn. False where the schedule ends with it."""
        for result in effect.results:
            if result[2:] not in self._ways.get(result[:2], ()):
                self._way(result, [*path.turns(before), turn])
        goes_on = True
        told = set()
        for failure in effect.failures:
            if failure.kind != "open" and failure.site in told:
                continue  # one call is one fault, however many expectations it fails
            told.add(failure.site)
            if failure.kind not in self._ignored:
                goes_on = goes_on and failure.kind == "open"
                if (failure.kind, str(failure)) not in self._faults:
                    self.add(failure, [*path.turns(before), turn])
        return goes_on

    def add(self, failure: Failure, turns: list[Turn]) -> None:
        """A fault, unless it is known or not looked for."""
        key = failure.kind, str(failure)
        if failure.kind not in self._ignored and key not in self._faults:
            self._faults[key] = Fault(*key, turns)
            if failure.site is not None:
                self._wrong.add(str(failure.site))

    def _way(self, result: Result, turns: list[Turn]) -> None:
        ways = self._ways.setdefault(result[:2], {})
        ways[result[2:]] = turns

    def faults(self) -> list[Fault]:
        """All faults, the gravest kind first, then the shortest."""
        found = list(self._faults.values())
        if "differs" not in self._ignored:
            found += self._differing()
        return sorted(found, key=gravest)

    def _differing(self) -> list[Fault]:
        found = []
        for (actor, line), ways in self._ways.items():
            place = f"{self._file}:{line}"
            if len(ways) > 1 and (actor, line) not in self._loose and place not in self._wrong:
                (_, other), (_, turns), *_ = sorted(ways.items(), key=repr)
                said = " or ".join(sorted(ended(*way) for way in ways))
                text = f"{place}: {actor} gets {said}, as the schedule has it"
                found.append(Fault("differs", text, turns, other=other))
        return found


def gravest(fault: Fault) -> tuple[int, int, str]:
    """Sorts faults: the gravest kind first, then the shortest."""
    return list(KINDS).index(fault.kind), len(fault.turns), fault.text


def ended(outcome: str, value: bytes | None) -> str:
    """How a call ended, in words."""
    if value is None:
        return outcome
    text = repr(value)
    return f"{outcome} with {text if len(text) <= 40 else text[:36] + '...'}"
