"""`sockfsm check`: predicts how a sequence of calls would end."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.model.predict import Prediction, Predictor
from sockfsm.protocols.names import kind_named

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers

_EXAMPLES = """examples:
  sockfsm check tcp bind listen accept             a server, step by step
  sockfsm check tcp shutdown_wr connect connect send
                                                   a failed call that has an effect
  sockfsm check unix-stream listen                 why is this refused?
  sockfsm check tcp --given peer=refuses connect so_error connect
  sockfsm check udp --batch < sequences.txt        one JSON object per line

Without --given the reference environment holds: the socket is non-blocking; there is one live
listener (stream) or bound peer (datagram), which has room and never accepts, sends or closes; each
bind() uses a new name; connect() goes to the peer. `sockfsm machine KIND` lists calls, states and
facts.

In a batch each line is one sequence: call words, separated by spaces or commas. A line that is not
a sequence gives {"error": ...} and a line on standard error; the exit status is then 2.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "check",
        help="predict how a sequence of calls would end",
        description="Show for each call of a sequence the state before, the outcome, the state "
        "after, whether it is legal, refused or a lint, why, and what would have been legal.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}, or a protocol")
    parser.add_argument(
        "calls",
        metavar="CALL",
        nargs="*",
        help="calls, in order: the machine's words, or Python's methods",
    )
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="FACT=VALUE",
        help="change a fact of the environment, such as peer=refuses or mode=blocking (repeatable)",
    )
    parser.add_argument("--state", default="", metavar="STATE", help="begin in this state")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--batch", action="store_true", help="read one sequence per line on standard input"
    )
    parser.add_argument(
        "--no-lint",
        action="append",
        default=[],
        metavar="LINT",
        help="switch a lint off (repeatable)",
    )
    parser.set_defaults(func=run)
    _options_anywhere(parser)


def _options_anywhere(parser: argparse.ArgumentParser) -> None:
    """Allow options between the calls: argparse stops collecting them there, so put options first."""
    original = parser.parse_known_args
    values = ("--given", "--state", "--no-lint")

    def parse(args: Any = None, namespace: Any = None) -> Any:
        options, words = [], []
        rest = list(args or ())
        while rest:
            word = rest.pop(0)
            if not word.startswith("-"):
                words.append(word)
                continue
            options.append(word)
            if word in values and rest:
                options.append(rest.pop(0))
        return original([*options, *words], namespace)

    parser.parse_known_args = parse  # type: ignore[method-assign]


def run(args: argparse.Namespace) -> int:
    """Predict and print; 2 if a line of a batch was not a sequence.

    UsageError for an unknown kind, call, fact, state or lint.
    """
    from sockfsm.model.lints import enabled

    # Called only for its error: an unknown lint must not be ignored.
    enabled(args.no_lint)
    kind = kind_named(args.kind)
    predictor = Predictor(kind, dict(_fact(text) for text in args.given))
    if args.batch:
        if args.calls:
            raise UsageError("--batch reads sequences from standard input: leave out the calls")
        return _batch(predictor, args.state)
    if not args.calls:
        raise UsageError(f"no calls: name some, as in `sockfsm check {args.kind} bind connect`")
    words = [_word(word) for text in args.calls for word in text.replace(",", " ").split()]
    predictions = predictor.predict(words, args.state)
    if args.json:
        print(json.dumps([_as_json(p, args.no_lint) for p in predictions], indent=2))
    else:
        for number, prediction in enumerate(predictions, 1):
            print(_shown(number, kind, prediction, args.no_lint))
    return 0


def _word(method: str) -> str:
    """A call's word, for what Python's method is called, too: `send` for `sendall`."""
    from sockfsm.record.layout import METHODS

    return dict(METHODS).get(method, method)


def _fact(text: str) -> tuple[str, str]:
    fact, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--given {text!r} is not a fact: write FACT=VALUE, such as peer=refuses")
    return fact, value


def _batch(predictor: Predictor, state: str) -> int:
    from sockfsm.model.batch import Batch

    failures = 0

    def failed(message: str) -> None:
        nonlocal failures
        failures += 1
        print(f"sockfsm: {message}", file=sys.stderr)

    batch = Batch(predictor, failed, state)
    # A line with invalid UTF-8 is reported as not a sequence, like any other bad line.
    source = open(  # noqa: SIM115 - standard input is not ours to close
        sys.stdin.fileno(), encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.stdout.writelines(line + "\n" for line in batch.lines(source))
    return 2 if failures else 0


def _as_json(p: Prediction, off: list[str]) -> dict[str, object]:
    return {
        "call": p.call,
        "before": p.before,
        "outcome": p.outcome,
        "end_of_stream": p.end_of_stream,
        "after": p.after,
        "legal": p.legal,
        "verdict": "legal" if p.lint in off and p.legal else p.verdict,
        "lint": "" if p.lint in off else p.lint,
        "why": p.why,
        "source": p.source,
        "note": p.note,
        "legal_calls": list(p.legal_calls),
    }


def _shown(number: int, kind: str, p: Prediction, off: list[str]) -> str:
    from sockfsm.model.lints import LINTS
    from sockfsm.model.rules import WITHOUT_DESCRIPTOR
    from sockfsm.model.teach import meant

    outcome = "ok, b''" if p.end_of_stream else p.outcome
    lint = LINTS.get(p.lint) if p.lint not in off else None
    verdict = "refused" if not p.legal else f"lint: {lint.name}" if lint else "legal"
    states = p.before if p.before == p.after else f"{p.before} -> {p.after}"
    lines = [f"{number:2}  {p.call:13} {outcome:13} {states}   [{verdict}]"]
    texts = [f"{p.why} ({p.source})"]
    if lint is not None:
        texts.append(f"Lint: {lint.title}. Instead: {lint.instead}.")
    if not p.legal:
        # Calls that make another socket are always legal and would only fill the line.
        legal = [call for call in p.legal_calls if call not in WITHOUT_DESCRIPTOR]
        texts.append(f"Legal here: {', '.join(legal) or 'nothing'}.")
        usual = meant(kind, p.before, p.call, p.outcome)
        if usual:
            texts.append(f"Usually meant: {usual}")
    if p.note:
        texts.append(f"Elsewhere: {p.note}")
    for text in texts:
        lines += textwrap.wrap(
            text, 96, initial_indent=" " * 6, subsequent_indent=" " * 8, break_long_words=False
        )
    return "\n".join(lines)
