"""The page of one kind: states, what each call gives where, the rules and their reasons, traps."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from sockfsm.model.describe import changes, conditions, lints, ways
from sockfsm.model.flat import FlatMachine
from sockfsm.model.lints import LINTS
from sockfsm.model.predict import Predictor
from sockfsm.model.rules import WITHOUT_DESCRIPTOR
from sockfsm.model.teach import legal_now
from sockfsm.model.traps import TRAPS
from sockfsm.pages.markdown import cell, code, table

GENERATED = "<!-- Generated from the machine's data by `python -m sockfsm.pages`: do not edit. -->"


def page(flat: FlatMachine) -> str:
    """The whole page as Markdown."""
    sections = (_opening, _states, _matrix, _traps, _lints, _elsewhere, _rules)
    return "\n".join(line for section in sections for line in (*section(flat), "")).rstrip() + "\n"


def _opening(flat: FlatMachine) -> Iterator[str]:
    module = import_module(f"sockfsm.model.{flat.kind.replace('-', '_')}")
    paragraphs = (module.__doc__ or "").strip().split("\n\n")[1:]
    yield from (GENERATED, "", f"# {flat.table.title}", "")
    yield from "\n\n".join(paragraphs).splitlines()
    yield from ("", f"![The life of a {flat.kind} socket]({flat.kind}.svg)", "")
    yield (
        f"{len(flat.states)} states, {len(flat.table.rules)} rules. The *reference environment*: a "
        "non-blocking socket; one live peer with room that never accepts, sends or closes; `bind` "
        "takes a fresh name each time; `connect` goes to the peer."
    )
    yield from ("", "The parts of a situation:", "")
    yield from table(
        ("part", "values", "meaning"),
        (
            (code(name), " ".join(map(code, values)), cell(flat.table.words.get(name, "")))
            for name, values in flat.table.parts.items()
        ),
    )
    yield from ("", "The facts of the environment, the reference one's first:", "")
    yield from table(
        ("fact", "values", "meaning"),
        (
            (code(name), " ".join(map(code, values)), cell(flat.table.words.get(name, "")))
            for name, values in flat.table.environment.items()
        ),
    )


def _states(flat: FlatMachine) -> Iterator[str]:
    known = ways(flat.kind)
    yield from ("## States", "")
    yield from table(
        ("state", "a shortest way there", "legal calls"),
        (
            (
                code(state),
                code(" ".join(known[state])) or "the fresh socket" if state in known else "",
                " ".join(map(code, legal_now(flat, state))),
            )
            for state in flat.states
        ),
    )


def _matrix(flat: FlatMachine) -> Iterator[str]:
    predictor = Predictor(flat.kind)
    calls = [call for call in flat.calls if call not in WITHOUT_DESCRIPTOR]
    yield from ("## What each call gives, in the reference environment", "")
    yield "Refusals are bold; an arrow marks a call that changes the state."
    yield ""
    rows = []
    for state in flat.states:
        node = predictor.origin((), state)
        row = [code(state)]
        for call in calls:
            outcome, after, entry = predictor.step(node, call)
            moved = " →" if after.name != state else ""
            row.append(f"**{outcome}**{moved}" if entry.refused else f"{outcome}{moved}")
        rows.append(row)
    yield from table(("state", *map(cell, calls)), rows)


def _traps(flat: FlatMachine) -> Iterator[str]:
    yield from ("## Traps", "")
    yield "Each in three lines, after `import contextlib, errno, socket`."
    for trap in TRAPS:
        if trap.kind != flat.kind:
            continue
        *before, last = trap.code
        yield from ("", f"### {trap.title}", "", trap.text, "", "```python", *before)
        yield from (f"{last}  # -> {trap.ends}", "```")


def _lints(flat: FlatMachine) -> Iterator[str]:
    yield from ("## Lints on this machine's rules", "")
    yield from table(
        ("lint", "what", "why", "instead"),
        (
            (code(name), cell(LINTS[name].title), cell(LINTS[name].why), cell(LINTS[name].instead))
            for name in lints(flat.table)
        ),
    )


def _elsewhere(flat: FlatMachine) -> Iterator[str]:
    notes = {
        (entry.call, entry.outcome, entry.note): None for entry in flat.table.rules if entry.note
    }
    yield from ("## Where POSIX and the BSDs differ", "")
    yield from table(
        ("call", "Linux", "elsewhere"),
        ((code(call), outcome, cell(note)) for call, outcome, note in notes),
    )


def _rules(flat: FlatMachine) -> Iterator[str]:
    yield from ("## The rules", "")
    yield (
        "Ordered: the first that fits decides. After the comma stands what the environment has to "
        "be like."
    )
    for call in dict.fromkeys(entry.call for entry in flat.table.rules):
        yield from ("", f"### {'every call on a descriptor' if call == '*' else cell(call)}", "")
        yield from table(
            ("when", "outcome", "then", "why", "source"),
            (
                (
                    code(conditions(entry)),
                    f"**{entry.outcome}**" if entry.refused else entry.outcome,
                    code(changes(entry)),
                    cell(entry.why),
                    cell(entry.source),
                )
                for entry in flat.table.rules
                if entry.call == call
            ),
        )
