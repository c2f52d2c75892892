"""`sockfsm export`: writes a trace in the format of another tool."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.trace.trace import Trace

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers

FORMS = {
    "pcapng": "for Wireshark: the packets, with call, file:line and state as comments",
    "perfetto": "for ui.perfetto.dev or chrome://tracing: calls, states and packets",
    "csv": "for spreadsheets: a row for each call and packet",
    "jsonl": "for programs: a JSON object on each line",
    "mermaid": "a sequence diagram as text",
}
_ENDINGS = {
    ".pcapng": "pcapng",
    ".json": "perfetto",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
}
_EXAMPLES = """examples:
  sockfsm export sockfsm-trace -o trace.pcapng    then: wireshark trace.pcapng
  sockfsm export sockfsm-trace -o trace.json      then: open it in ui.perfetto.dev
  sockfsm export sockfsm-trace --form csv > trace.csv
  sockfsm export sockfsm-trace --form mermaid

forms:
""" + "\n".join(f"  {name:9} {text}" for name, text in FORMS.items())


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a trace for Wireshark, Perfetto, spreadsheets, ...",
        description="Write a trace in the format of another tool.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trace", metavar="TRACE", help="the folder that `sockfsm run` wrote")
    parser.add_argument("-o", "--output", metavar="FILE", help="write here instead of to stdout")
    parser.add_argument(
        "--form", choices=FORMS, help="the format; by default the suffix of FILE chooses it"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write the trace. SockfsmError for an unreadable trace, a bad format or an unwritable file."""
    form = args.form or _ENDINGS.get(Path(args.output or "").suffix)
    if form is None:
        endings = ", ".join(_ENDINGS)
        raise UsageError(f"no form: give --form {'|'.join(FORMS)} or a FILE with {endings}")
    trace = Trace.open(args.trace)
    pieces = _pieces(form, trace)
    if args.output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        _warn(trace)
        return 0
    first = next(pieces, b"")  # a trace that cannot be read must not leave an empty file
    try:
        with open(args.output, "wb") as file:
            file.write(first)
            file.writelines(pieces)
    except OSError as error:
        raise UsageError(f"{args.output}: {error.strerror}") from None
    _warn(trace)
    return 0


def _warn(trace: Trace) -> None:
    """Print what the trace lacks: most formats have no place for it."""
    from sockfsm.views.incomplete import incomplete

    for line in incomplete(trace):
        print(f"sockfsm: {line}", file=sys.stderr)


def _pieces(form: str, trace: Trace) -> Iterator[bytes]:
    from sockfsm.export import pcapng, perfetto, sequence, table
    from sockfsm.views import jsonlines

    if form == "pcapng":
        yield from pcapng.pieces(trace)
        return
    lines = {
        "perfetto": perfetto.lines,
        "csv": table.lines,
        "jsonl": jsonlines.lines,
        "mermaid": sequence.lines,
    }[form]
    for line in lines(trace):
        yield line.encode("utf-8", "surrogateescape") + b"\n"
