"""Every way in which a call can end in a situation, as far as a tracer can know.

A prediction knows the environment, so that one rule fits. A tracer knows the outcome and a little of
the environment (VARIANTS). Several rules may have that outcome, and lead to different situations. All
of them are ways. Later calls may show which one it was, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from sockfsm.model.rules import Condition, Parts, Rule, Table
from sockfsm.model.variants import VARIANTS

Known = Mapping[str, frozenset[str]]
"""Fact -> the values that are possible, for facts of which something is known."""

_WORDS: dict[str, dict[str, str]] = {}
for _word, _facts in VARIANTS.items():
    for _fact, _value in _facts.items():
        _WORDS.setdefault(_fact, {})[_word] = _value


class Reach:
    """Which rules of a table may apply, as far as a tracer can know."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._known: dict[str, Known] = {}
        self._told: dict[str, dict[str, str]] = {}

    def told(self, variant: str) -> dict[str, str]:
        """The reference environment, changed by the words of a variant."""
        found = self._told.get(variant)
        if found is None:
            said = set(variant.split())
            found = self._told[variant] = self.table.reference
            for word in said & VARIANTS.keys():
                for fact, value in VARIANTS[word].items():
                    if value in self.table.environment.get(fact, ()):
                        found[fact] = value
        return found

    def known(self, variant: str) -> Known:
        """What a variant says of the environment, by its words and by those that it lacks.

        Values without a word stay possible: an abstract name may be taken as well.
        """
        found = self._known.get(variant)
        if found is None:
            told = self.told(variant)
            found = self._known[variant] = {
                fact: frozenset({told[fact]}) | {*values[1:]} - {*words.values()}
                for fact, words in _WORDS.items()
                if (values := self.table.environment.get(fact, ()))
            }
        return found

    def within(self, call: str, parts: Parts, variant: str) -> Iterator[Rule]:
        """Yield the rules that may apply to `call` here, in order, down to one without `given`."""
        facts = self.known(variant)
        earlier: list[tuple[str, set[Condition]]] = []
        for entry in self.table.fitting(call, parts):
            if not entry.given:
                yield entry
                return
            if not all(_possible(condition, facts) for condition in entry.given):
                continue
            unknown = {condition for condition in entry.given if not _settled(condition, facts)}
            if any(o == entry.outcome and before <= unknown for o, before in earlier):
                continue  # an earlier rule covers every case of this one
            earlier.append((entry.outcome, unknown))
            yield entry
            if not unknown:
                return

    def ordered(self, call: str, parts: Parts, variant: str) -> list[Rule]:
        """The rules that may apply, the likeliest first.

        Rules that must not be relied on come last, and before them those that need another environment
        than the reference one.
        """
        told = self.told(variant)
        rules = list(self.within(call, parts, variant))
        usual = next((e for e in rules if all(c.holds(told[c.name]) for c in e.given)), None)
        return sorted(rules, key=lambda entry: (entry.aside, entry is not usual))

    def variants(self, call: str, parts: Parts) -> Iterator[str]:
        """Yield the variants that may make a difference to `call` here, first the one without words."""
        asked = {c.name for entry in self.table.fitting(call, parts) for c in entry.given}
        choices = [
            ("", *(w for w, value in words.items() if value in self.table.environment[fact]))
            for fact, words in _WORDS.items()
            if fact in asked
        ]
        for chosen in product(*choices):
            yield " ".join(word for word in VARIANTS if word in chosen)


def _possible(condition: Condition, facts: Known) -> bool:
    values = facts.get(condition.name)
    return values is None or any(map(condition.holds, values))


def _settled(condition: Condition, facts: Known) -> bool:
    values = facts.get(condition.name)
    return values is not None and all(map(condition.holds, values))


def given_name(entry: Rule) -> str:
    """The environment of a rule as a part of a trigger's name: `peer_closes_or_ends`."""
    return "_".join(
        f"{c.name}_{'not_' if c.negated else ''}{'_or_'.join(sorted(c.values))}"
        for c in entry.given
    )
