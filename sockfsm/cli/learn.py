"""`sockfsm learn`: learns the machine that the running kernel implements, and compares it with ours."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS, table_of

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.learn.mealy import Comparison, Mealy

_EXAMPLES = """examples:
  sockfsm learn tcp                  learn it, and say whether it equals ours
  sockfsm learn tcp -o learned.svg   learn it, and draw it as well
  sockfsm learn tcp --calls "bind listen accept connect send recv shutdown_wr close" -o small.svg
                                     a smaller picture, with fewer calls
  sockfsm learn udp --json           the learned machine as data

L* (AALpy, `pip install 'sockfsm[learn]'`) learns from outcomes alone, in the reference environment.
States of the model that no sequence of calls can tell apart are one learned state. The exit status is
1 if the machines differ.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "learn",
        help="learn the machine that the running kernel implements",
        description="Learn the Mealy machine that the running kernel implements, by making sequences "
        "of calls, and compare it with the model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("-o", "--output", metavar="FILE", help="draw it (.svg, .png, .dot, .mmd)")
    parser.add_argument("--calls", metavar="WORDS", help="learn with these calls only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the random walks")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Learn, compare and print; 1 if the machines differ.

    UsageError for an unknown kind or call, or if AALpy is missing.
    """
    table_of(args.kind)
    from sockfsm.conform.suites import WORDS
    from sockfsm.learn.lstar import learn
    from sockfsm.learn.mealy import compare
    from sockfsm.model.predict import Predictor

    calls = WORDS
    if args.calls is not None:
        calls = tuple(dict.fromkeys(args.calls.replace(",", " ").split()))
    if not calls:
        raise UsageError(f"--calls names none: the words are {' '.join(WORDS)}")
    for call in calls:
        if call not in WORDS:
            raise UsageError(f"cannot learn with {call!r}: the words are {' '.join(WORDS)}")
    learned = learn(args.kind, calls=calls, seed=args.seed)
    # `learn` stopped at the first difference that the kernel confirmed; this finds it again.
    compared = compare(learned, Predictor(args.kind))
    if args.output:
        from sockfsm.diagrams.render import save
        from sockfsm.learn.picture import picture

        path = save(picture(learned, compared), args.output)
        if not args.json:
            print(f"wrote {path}")
    if args.json:
        print(json.dumps(_as_json(learned, compared), indent=2))
    else:
        _print(learned, compared)
    return 1 if compared.difference else 0


def _print(learned: Mealy, compared: Comparison) -> None:
    print(
        f"{learned.kind}: learned {learned.size} states from {learned.queries:,} sequences "
        f"({learned.steps_asked:,} calls) in {learned.seconds:.1f} s"
    )
    for state in range(learned.size):
        print(f"  {state:3}  {', '.join(compared.names.get(state, ()))}")
    difference = compared.difference
    if difference is None:
        print("equivalent: no sequence of calls tells the kernel's machine from ours")
    else:
        print(
            f"different: after {' '.join(difference.calls)} the kernel says {difference.learned}, "
            f"the model {difference.model}"
        )


def _as_json(learned: Mealy, compared: Comparison) -> dict[str, object]:
    difference = compared.difference
    return {
        "kind": learned.kind,
        "states": learned.size,
        "sequences": learned.queries,
        "calls": learned.steps_asked,
        "seconds": round(learned.seconds, 3),
        "names": {str(state): list(names) for state, names in compared.names.items()},
        "steps": [
            {"state": state, "call": call, "outcome": outcome, "target": target}
            for (state, call), (outcome, target) in learned.steps.items()
        ],
        "equivalent": difference is None,
        "difference": None
        if difference is None
        else {
            "calls": list(difference.calls),
            "kernel": difference.learned,
            "model": difference.model,
        },
    }
