"""A learned machine as data, and the shortest sequence that tells it from ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sockfsm.model.predict import Node, Predictor


@dataclass(frozen=True)
class Mealy:
    """States are numbers, 0 the initial one; steps: (state, call) -> (outcome, next state).

    queries, steps_asked, seconds: what learning it took.
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
    """The shortest sequence that tells two machines apart, and the last call's two outcomes."""

    calls: tuple[str, ...]
    learned: str
    model: str


@dataclass(frozen=True)
class Comparison:
    """names: the model's states for each learned state, in the order they are reached."""

    difference: Difference | None
    names: Mapping[int, tuple[str, ...]]


def compare(learned: Mealy, predictor: Predictor) -> Comparison:
    """Walk both machines side by side, breadth first: the first difference is a shortest one."""
    start = (0, predictor.created)
    ways: dict[tuple[int, str], tuple[str, ...]] = {(0, predictor.created.name): ()}
    names: dict[int, list[str]] = {}
    queue: list[tuple[int, Node]] = [start]
    difference = None
    while queue:
        state, node = queue.pop(0)
        way = ways[state, node.name]
        names.setdefault(state, []).append(node.name)
        for call in learned.calls:
            outcome, target = learned.steps[state, call]
            wanted, after, _ = predictor.step(node, call)
            if outcome != wanted:
                difference = difference or Difference((*way, call), outcome, wanted)
                continue
            if (target, after.name) not in ways:
                ways[target, after.name] = (*way, call)
                queue.append((target, after))
    return Comparison(difference, {state: tuple(found) for state, found in names.items()})
