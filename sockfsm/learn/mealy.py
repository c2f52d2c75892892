"""A learned machine as data, and the shortest sequence on which it differs from ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sockfsm.model.predict import Predictor, Situation


@dataclass(frozen=True)
class Mealy:
    """A Mealy machine. Its states are numbers; 0 is the initial one.

    steps: (state, call) -> (outcome, next state). queries, steps_asked, seconds: how many sequences and
    calls, and how much time, it took to learn it.
    """

    kind: str
    calls: tuple[str, ...]
    steps: Mapping[tuple[int, str], tuple[str, int]]
    queries: int = 0
    steps_asked: int = 0
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """How many states there are."""
        return 1 + max(state for state, _ in self.steps)


@dataclass(frozen=True)
class Difference:
    """A shortest sequence on which two machines differ, and the two outcomes of its last call."""

    calls: tuple[str, ...]
    learned: str
    model: str


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    difference: None if the machines are equivalent. names: learned state -> the model's states that
    correspond to it, in the order in which they are reached.
    """

    difference: Difference | None
    names: Mapping[int, tuple[str, ...]]


def compare(learned: Mealy, predictor: Predictor) -> Comparison:
    """Walk both machines side by side. Breadth first, so the first difference is a shortest one."""
    start = (0, predictor.created)
    ways: dict[tuple[int, str], tuple[str, ...]] = {(0, predictor.created.name): ()}
    names: dict[int, list[str]] = {}
    queue: list[tuple[int, Situation]] = [start]
    difference = None
    while queue:
        state, situation = queue.pop(0)
        way = ways[state, situation.name]
        names.setdefault(state, []).append(situation.name)
        for call in learned.calls:
            outcome, target = learned.steps[state, call]
            wanted, after, _ = predictor.step(situation, call)
            if outcome != wanted:
                # Go on all the same: the names of the states behind this call are wanted.
                difference = difference or Difference((*way, call), outcome, wanted)
                continue
            if (target, after.name) not in ways:
                ways[target, after.name] = (*way, call)
                queue.append((target, after))
    return Comparison(difference, {state: tuple(listed) for state, listed in names.items()})
