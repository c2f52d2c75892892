"""What a simulated call is answered: by the rules of the socket's kind, and nothing else.

The world gives the facts (`facts.py`); the first rule that fits them and the socket's parts gives
the outcome and the next parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sockfsm.model.kinds import table_of
from sockfsm.model.rules import OK, Parts, Rule

Facts = tuple[tuple[str, str], ...]
NOTHING: frozenset[str] = frozenset()


def ask(
    kind: str,
    parts: Parts,
    word: str,
    facts: Mapping[str, str],
    seen: frozenset[str] = NOTHING,
) -> Rule:
    """The rule that answers the call.

    seen: outcomes which the world knows to be due, although the parts do not tell (unread data from
    before the end, an ICMP error that has come meanwhile). For these, rules hold that are given
    `history=partial`: more has happened to the socket than its own calls.
    """
    return _ask(kind, parts, word, tuple(sorted(facts.items())), seen)


@lru_cache(1 << 14)
def _ask(kind: str, parts: Parts, word: str, facts: Facts, seen: frozenset[str]) -> Rule:
    table = table_of(kind)
    world = {**table.reference, **dict(facts)}
    passed: Rule | None = None
    fitting = table.fitting(word, parts)
    for entry in fitting:
        for condition in entry.given:
            if condition.name == "history" and "partial" in condition.values:
                if entry.outcome not in seen or entry.call == "*":
                    break
            elif not condition.holds(world[condition.name]):
                break
        else:
            if entry.outcome != OK or not seen or OK in seen:
                # A given fact may have several outcomes: the one that is due.
                due = (o for o in fitting if o.given == entry.given and o.outcome in seen)
                return next(due, entry) if seen and entry.given else entry
            # An error is due, which a rule further down may tell of.
            passed = passed or entry
    if passed is not None:
        return passed
    raise LookupError(f"no rule of {kind} answers {word} in {table.name(parts)}")


def then(kind: str, parts: Parts, entry: Rule) -> Parts:
    """The parts after `entry`."""
    return table_of(kind).after(entry, parts) if entry.then else parts


@lru_cache(1 << 12)
def state(kind: str, parts: Parts) -> str:
    """The flat state's name."""
    return table_of(kind).name(parts)
