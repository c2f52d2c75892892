"""The page that publishes how the machines agree with sources that nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.conform.oracles import FACTS, GVISOR, LTP, MAN
from sockfsm.conform.suites import suites
from sockfsm.pages.kind import GENERATED
from sockfsm.pages.markdown import cell, code, table


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
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
