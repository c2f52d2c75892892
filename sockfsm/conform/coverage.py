"""Which rules the suites prove: those that the model applies in their environments."""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.conform.suites import Suite
from sockfsm.model.predict import Predictor
from sockfsm.model.rules import Rule


def proved(suite: Suite, depth: int) -> set[int]:
    """The identities of the rules by which all sequences of `depth` calls are predicted."""
    predictor = Predictor(suite.kind, suite.given)
    found: set[int] = set()
    now = {id(predictor.created): predictor.created}
    for _ in range(depth):
        after = {}
        for node in now.values():
            for call in suite.words:
                _, reached, entry = predictor.step(node, call)
                found.add(id(entry))
                after[id(reached)] = reached
        now = after
    return found


def unproved(rules: Iterable[Rule], chosen: Iterable[tuple[Suite, int]]) -> list[Rule]:
    """The rules that no suite comes to in so many calls."""
    known = {number for suite, depth in chosen for number in proved(suite, depth)}
    return [entry for entry in rules if id(entry) not in known]
