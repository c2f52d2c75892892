"""A machine as data, from which `sockfsm machine`, its JSON and the pages are made."""

from __future__ import annotations

from typing import Any

from sockfsm.model.flat import FlatMachine
from sockfsm.model.lints import LINTS
from sockfsm.model.predict import Predictor
from sockfsm.model.rules import ACCEPTED, Rule, Table


def conditions(entry: Rule) -> str:
    """`when`, and `given` after a comma: `role=fresh, mode=blocking`; `always` if there is neither."""
    when = " ".join(map(str, entry.when))
    given = " ".join(map(str, entry.given))
    return ", ".join(text for text in (when, given) if text) or "always"


def changes(entry: Rule) -> str:
    """The parts that change, as the table writes them."""
    return " ".join(f"{part}={value}" for part, value in entry.then.items())


def as_data(flat: FlatMachine) -> dict[str, Any]:
    """The whole machine as JSON-able data.

    kind, title, initial, calls; parts, environment (first values: initial, reference) and words;
    states: name -> parts, legal calls, and each call's outcomes; refusals: state -> call -> errno;
    rules in order; the names of their lints.
    """
    table = flat.table
    return {
        "kind": flat.kind,
        "title": table.title,
        "initial": flat.initial,
        "calls": list(flat.calls),
        "parts": {name: list(values) for name, values in table.parts.items()},
        "environment": {name: list(values) for name, values in table.environment.items()},
        "words": dict(table.words),
        "states": {state: _state(flat, state) for state in flat.states},
        "refusals": {
            state: {
                call: entry.outcome for call in flat.calls if (entry := flat.refusal(state, call))
            }
            for state in flat.states
        },
        "rules": [_rule(entry) for entry in table.rules],
        "lints": {name: LINTS[name].title for name in lints(table)},
    }


def lints(table: Table) -> list[str]:
    """The names of the lints of the table's rules."""
    return list(dict.fromkeys(entry.lint for entry in table.rules if entry.lint))


def _state(flat: FlatMachine, state: str) -> dict[str, Any]:
    return {
        "parts": dict(zip(flat.table.parts, flat.states[state], strict=True)),
        "legal": list(flat.legal(state)),
        "calls": {
            call: [
                {
                    "outcome": cell.outcome,
                    "target": cell.target,
                    "given": " ".join(map(str, cell.rule.given)),
                    "why": cell.rule.why,
                    "source": cell.rule.source,
                    "lint": cell.rule.lint,
                    "note": cell.rule.note,
                }
                for cell in flat.cells[state, call]
            ]
            for call in flat.calls
            if flat.cells[state, call]
        },
    }


def _rule(entry: Rule) -> dict[str, Any]:
    return {
        "call": entry.call,
        "when": " ".join(map(str, entry.when)),
        "given": " ".join(map(str, entry.given)),
        "outcome": entry.outcome,
        "then": dict(entry.then),
        "refused": entry.refused,
        "why": entry.why,
        "source": entry.source,
        "lint": entry.lint,
        "note": entry.note,
    }


def ways(kind: str) -> dict[str, tuple[str, ...]]:
    """State -> the shortest calls that lead there in the reference environment from CREATED."""
    predictor = Predictor(kind)
    words = [call for call in predictor.table.calls if call not in ("exit", "detach")]
    found: dict[str, tuple[str, ...]] = {predictor.created.name: ()}
    queue = [predictor.created]
    while queue:
        node = queue.pop(0)
        for call in words:
            if predictor.table.predict(call, node.parts, predictor.environment) is None:
                continue
            after = predictor.step(node, call)[1]
            if after.name not in found:
                found[after.name] = (*found[node.name], call)
                queue.append(after)
    return found


def expected(kind: str, state: str, call: str) -> str:
    """The outcome in the reference environment; `-` if the call makes another socket."""
    predictor = Predictor(kind)
    entry = predictor.table.predict(call, predictor.origin((), state).parts, predictor.environment)
    return "-" if entry is None else entry.outcome


def refused(outcome: str) -> bool:
    """Whether the outcome is a refusal."""
    return outcome not in ACCEPTED
