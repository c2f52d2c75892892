"""`sockfsm lint`: finds mistakes in a trace that the kernel let through."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.trace.lints import Finding
    from sockfsm.views.lanes import Lanes

_EXAMPLES = """examples:
  sockfsm lint sockfsm-trace
  sockfsm lint sockfsm-trace --no-lint short-send --no-lint unbound-listen
  sockfsm lint --list                   what each lint means, and what to do instead

The exit status is 1 if something was found, else 0.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "lint",
        help="the mistakes in a trace that the kernel let through",
        description="Find calls that succeeded although they are almost always a mistake.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trace", metavar="TRACE", nargs="?", help="the folder `sockfsm run` wrote")
    parser.add_argument(
        "--no-lint",
        action="append",
        default=[],
        metavar="NAME",
        help="switch a lint off (repeatable)",
    )
    parser.add_argument("--list", action="store_true", help="explain every lint")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if there are any. SockfsmError for a bad trace or an unknown lint."""
    from sockfsm.errors import UsageError
    from sockfsm.model.lints import LINTS
    from sockfsm.trace.lints import find
    from sockfsm.trace.trace import Trace
    from sockfsm.views.incomplete import incomplete, lacking
    from sockfsm.views.lanes import Lanes

    if args.list:
        for lint in LINTS.values():
            text = f"{lint.title}. {lint.why} Instead: {lint.instead}."
            print(f"{lint.name}\n{_filled(text)}")
        return 0
    # argparse cannot say that --list makes the trace optional.
    if args.trace is None:
        raise UsageError("no trace: name its folder, or give --list")
    findings = 0
    trace = Trace.open(args.trace)
    lanes = Lanes(trace)
    for finding in find(trace.calls(), args.no_lint):
        findings += 1
        print(_json(finding) if args.json else _text(finding, lanes))
    if not findings and not args.json:
        print("nothing found")
    if args.json and (problems := lacking(trace)):
        print(json.dumps({"problems": problems}))
    elif not args.json:
        for line in incomplete(trace):
            print(line)
    return 1 if findings else 0


_IN, _WIDE = " " * 4, 80


def _text(finding: Finding, lanes: Lanes) -> str:
    from sockfsm.views.text import address, plain

    call, lint, socket = finding.call, finding.lint, finding.call.socket
    method = plain(call.method)
    about = method if method.endswith(")") else f"{method}()"
    if socket is not None:
        own = f" {address(socket.local)}" if socket.local else ""
        named = f"{lanes.socket(socket)} {plain(socket.kind)}{own}"
        # The end of a process is no call of the program's: it stands where the socket was made.
        about = f"{named}, made here" if call.call == "exit" else f"{about} on {named}"
    site = call.site or finding.made
    heading = f"{plain(str(site))}: {lint.name}" if site is not None else lint.name
    texts = (f"{lint.title}: {about}", f"{lint.why} Instead: {lint.instead}.")
    return "\n".join((heading, *map(_filled, texts)))


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDE, initial_indent=_IN, subsequent_indent=_IN)


def _json(finding: Finding) -> str:
    call, lint = finding.call, finding.lint
    site = call.site or finding.made
    return json.dumps(
        {
            "lint": lint.name,
            "title": lint.title,
            "why": lint.why,
            "instead": lint.instead,
            "method": call.method,
            "socket": call.socket.identity if call.socket else None,
            "state": call.before,
            "file": site.file if site else None,
            "line": site.line if site else None,
        }
    )
