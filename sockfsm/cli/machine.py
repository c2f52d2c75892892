"""`sockfsm machine`: shows the states, rules and refusals of a kind, with their reasons."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError, nearest
from sockfsm.model.describe import as_data, changes, conditions, lints, ways
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.rules import Rule
from sockfsm.protocols.names import kind_named

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers

_COLUMNS = 100
_EXAMPLES = """examples:
  sockfsm machine tcp                       parts, states, refusals and all rules
  sockfsm machine tcp --state LISTENING     what each call does there, and why
  sockfsm machine tcp --call connect        one call's rules
  sockfsm machine udp --json                the same as data
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "machine",
        help="the states, rules and refusals of a kind, and why",
        description="Show the machine of a kind of socket: its states, which calls are refused in "
        "which state and with which errno, and the ordered rules, each with its reason and source.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}, or a protocol")
    parser.add_argument("--state", metavar="STATE", help="only what can happen in this state")
    parser.add_argument("--call", metavar="CALL", help="only this call")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the machine. UsageError for an unknown kind, state or call."""
    args.kind = kind_named(args.kind)
    flat = flat_of(args.kind)
    if args.state and args.state not in flat.states:
        raise UsageError(
            f"no state {args.state!r} of {args.kind}: {nearest(args.state, flat.states)}"
        )
    if args.call and args.call not in flat.calls:
        raise UsageError(f"no call {args.call!r} for {args.kind}: {nearest(args.call, flat.calls)}")
    calls = (args.call,) if args.call else flat.calls
    if args.json:
        print(json.dumps(_chosen(flat, args.state, args.call), indent=2))
    elif args.state:
        print("\n".join(_state(flat, args.state, calls)))
    else:
        print("\n".join(_whole(flat, calls, whole=not args.call)))
    return 0


def _chosen(flat: FlatMachine, state: str | None, call: str | None) -> dict[str, object]:
    # Cut from the whole, so that a part looks the same as in the whole.
    data = as_data(flat)
    if state:
        data["states"] = {state: data["states"][state]}
        data["refusals"] = {state: data["refusals"][state]}
    if call:
        data["rules"] = [entry for entry in data["rules"] if entry["call"] in (call, "*")]
        data["refusals"] = {
            name: {word: errno for word, errno in entry.items() if word == call}
            for name, entry in data["refusals"].items()
        }
        for entry in data["states"].values():
            entry["calls"] = {word: cells for word, cells in entry["calls"].items() if word == call}
    return data


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, _COLUMNS, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _whole(flat: FlatMachine, calls: Iterable[str], *, whole: bool) -> Iterator[str]:
    """The rules and refusals of `calls`. whole: also what is not about single calls."""
    if whole:
        yield from _overview(flat)
    yield from ("", "REFUSALS, whatever the environment")
    for call in calls:
        yield from _refusals(flat, call)
    yield from ("", "RULES, the first that fits decides: call, situation, environment -> outcome")
    for entry in flat.table.rules:
        if entry.call in (*calls, "*"):
            yield from _rule(entry)
    if whole:
        named = ", ".join(lints(flat.table)) or "none"
        yield from ("", *_wrapped(f"LINTS on these rules: {named}", "", "  "))


def _overview(flat: FlatMachine) -> Iterator[str]:
    table = flat.table
    yield f"{table.title}: {len(flat.states)} states, {len(table.rules)} rules"
    for title, listed in (
        ("PARTS of a situation (the first value is the initial one)", table.parts),
        ("ENVIRONMENT (the first value is the reference one)", table.environment),
    ):
        yield from ("", title)
        for name, values in listed.items():
            words = f"{name:9} {' '.join(values)}: {table.words.get(name, '')}"
            yield from _wrapped(words, "  ", " " * 12)
    yield from ("", "STATES and the shortest way there")
    known = ways(flat.kind)
    for state in flat.states:
        way = " ".join(known[state]) or "the fresh socket" if state in known else ""
        yield from _wrapped(f"{state:34} {way}".rstrip(), "  ", " " * 37)


def _rule(entry: Rule) -> Iterator[str]:
    then = changes(entry)
    text = f"{entry.call}  {conditions(entry)}  ->  {entry.outcome}{'  ' + then if then else ''}"
    yield from _wrapped(text, "  ", " " * 8)
    yield from _wrapped(f"{entry.why} [{entry.source}]", " " * 6, " " * 6)
    for label, remark in (("lint", entry.lint), ("elsewhere", entry.note)):
        if remark:
            yield from _wrapped(f"{label}: {remark}", " " * 6, " " * 8)


def _refusals(flat: FlatMachine, call: str) -> Iterator[str]:
    states: dict[str, list[str]] = {}
    for state in flat.states:
        entry = flat.refusal(state, call)
        if entry is not None:
            states.setdefault(entry.outcome, []).append(state)
    for outcome, names in states.items():
        yield from _wrapped(f"{call:14} {outcome:12} {' '.join(names)}", "  ", " " * 30)


def _state(flat: FlatMachine, state: str, calls: Iterable[str]) -> Iterator[str]:
    parts = zip(flat.table.parts, flat.states[state], strict=True)
    yield f"{flat.kind}, state {state}: {' '.join(f'{name}={value}' for name, value in parts)}"
    for call in calls:
        for cell in flat.cells[state, call]:
            given = " ".join(map(str, cell.rule.given))
            target = "" if cell.target == state else f" -> {cell.target}"
            yield f"  {call:14} {cell.outcome:13}{target}{f'   given {given}' if given else ''}"
            yield from _wrapped(f"{cell.rule.why} [{cell.rule.source}]", " " * 6, " " * 6)
            if cell.rule.lint:
                yield f"      lint: {cell.rule.lint}"
