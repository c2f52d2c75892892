"""Writes the pages that stand beside this file: `make diagrams`.

They are made from the machines' data: one page for each kind (its states, what each call gives in each
state, traps, lints, and the rules with their reasons), and one page on how the machines agree with
sources that nobody here wrote.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from sockfsm.conform.oracles import FACTS, GVISOR, LTP, MAN
from sockfsm.conform.suites import suites
from sockfsm.model.describe import changes, conditions, lints, ways
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.lints import LINTS
from sockfsm.model.predict import Predictor
from sockfsm.model.rules import WITHOUT_DESCRIPTOR
from sockfsm.model.teach import legal_now
from sockfsm.model.traps import TRAPS

GENERATED = "<!-- Generated from the machine's data by `make diagrams`: do not edit. -->"


def main(arguments: Sequence[str]) -> int:
    """Write the pages that have changed, by default into this folder; 2 if that is not possible."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    try:
        for name, text in pages().items():
            path = folder / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path}")
    except OSError as error:
        print(f"sockfsm: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    made = {f"{kind}.md": kind_page(flat_of(kind)) for kind in KINDS}
    made["agreement.md"] = "\n".join(_agreement()) + "\n"
    return made


# The page of a kind


def kind_page(flat: FlatMachine) -> str:
    """The page of a kind, as Markdown."""
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


# The page on agreement


def _agreement() -> Iterator[str]:
    yield from (GENERATED, "", "# Agreement", "")
    yield (
        "The running kernel is the judge: `sockfsm conform` runs every sequence of calls up to a "
        "depth on real sockets and compares each outcome, in these environments; `sockfsm learn` "
        "learns the kernel's machine and finds it equivalent. Beside that stand sources that nobody "
        "here wrote."
    )
    yield from ("", "## Environments compared with the kernel", "")
    yield from table(
        ("kind", "environment", "facts that differ from the reference"),
        (
            (
                suite.kind,
                cell(suite.name),
                " ".join(code(f"{k}={v}") for k, v in suite.given.items()),
            )
            for suite in suites()
        ),
    )
    yield from ("", "## Other sources", "")
    rows = []
    for source in (LTP, GVISOR, MAN):
        facts = [fact for fact in FACTS if fact.source == source]
        agreeing = sum(fact.agrees for fact in facts)
        rows.append((source, str(len(facts)), str(agreeing), str(len(facts) - agreeing)))
    yield from table(("source", "facts", "agree", "differ"), rows)
    yield from (
        "",
        "A matrix of wrong-state errnos that others measured on Linux 6.18 (six kinds of sockets, ten "
        "states, twelve calls) is compared cell by cell in `tests/test_oracles.py`: no difference.",
        "",
        "## Every fact",
        "",
    )
    yield from table(
        ("source", "place", "kind", "calls", "expects", "we say", "difference explained"),
        (
            (
                fact.source,
                cell(fact.place),
                fact.kind,
                code(fact.calls),
                fact.outcome,
                fact.model if fact.agrees else f"**{fact.model}**",
                cell(fact.differs),
            )
            for fact in FACTS
        ),
    )


# Markdown


def cell(text: str) -> str:
    """Text for a cell of a table, with the signs that Markdown would interpret escaped."""
    for sign in ("\\", "|", "*", "_", "<"):
        text = text.replace(sign, "\\" + sign)
    return text


def code(text: str) -> str:
    """Code for a cell of a table; '' stays ''."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; its cells are Markdown already."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
