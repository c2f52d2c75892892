"""Which rules are proved: a suite applies them, or a showing brings them about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sockfsm.conform.showings import SHOWINGS
from sockfsm.conform.shown import rules_of
from sockfsm.conform.suites import Suite, suites
from sockfsm.model.kinds import table_of
from sockfsm.model.predict import Predictor
from sockfsm.model.rules import Rule

_DEPTH, _WITH_DEADLINE = 3, 2
"""How many calls deep the tests run each suite; the second number is for those with a deadline."""


def proved(suite: Suite, depth: int) -> set[int]:
    """The `id`s of the rules that predict all sequences of `depth` calls."""
    predictor = Predictor(suite.kind, suite.given)
    found: set[int] = set()
    node = predictor.born(suite.birth)
    now = {id(node): node}
    for _ in range(depth):
        after = {}
        for node in now.values():
            for call in suite.words:
                _, reached, entry = predictor.step(node, call)
                found.add(id(entry))
                after[id(reached)] = reached
        now = after
    return found


def depth_of(suite: Suite) -> int:
    """How deep a suite is run. Where each call waits for a tick, less deep."""
    return _WITH_DEADLINE if "deadline" in suite.name else _DEPTH


def shown(kind: str) -> set[int]:
    """The `id`s of the rules that the showings of a kind bring about."""
    showings = [showing for showing in SHOWINGS.values() if showing.kind == kind]
    table = table_of(kind)
    births = {showing.birth for showing in showings if showing.birth}
    born = {id(table.predict(call, table.initial, table.reference)) for call in births}
    return born | {id(rule) for showing in showings for rule in rules_of(showing)}


def unproved(kind: str) -> list[Rule]:
    """The rules that no suite applies and no showing brings about."""
    known = _by_suites(suites(kind)) | shown(kind)
    return [entry for entry in table_of(kind).rules if id(entry) not in known]


def _by_suites(chosen: Iterable[Suite]) -> set[int]:
    return {number for suite in chosen for number in proved(suite, depth_of(suite))}


def told(entry: Rule) -> str:
    """A rule as a line of text: call, situation, outcome, environment."""
    return " ".join(map(str, (entry.call, *entry.when, entry.outcome, *entry.given)))


@dataclass(frozen=True)
class Proof:
    """How many rules a kind has, how many are proved in which way, and which are not."""

    kind: str
    rules: int
    suites: int
    shown: int
    unproved: tuple[str, ...]


def proof(kind: str) -> Proof:
    """The proof of a kind. A rule that both prove counts for the suites."""
    rules = [id(entry) for entry in table_of(kind).rules]
    by_suites = _by_suites(suites(kind)).intersection(rules)
    left = unproved(kind)
    by_showings = len(rules) - len(by_suites) - len(left)
    return Proof(kind, len(rules), len(by_suites), by_showings, tuple(map(told, left)))
