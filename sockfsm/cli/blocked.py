"""`sockfsm blocked`: which calls of a traced program are blocked right now."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sockfsm.trace.trace import Trace

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "blocked",
        help="which calls of a running program are blocked right now",
        description="List the calls that are blocked now, or were blocked when the program ended: for"
        " how long, on which socket, in which thread and line. Works while the program runs.",
    )
    parser.add_argument("trace", metavar="TRACE", help="the folder that `sockfsm run` writes")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the blocked calls. SockfsmError if the trace cannot be read."""
    from sockfsm.views.blocked import lines
    from sockfsm.views.text import paint_for

    for line in lines(Trace.open(args.trace), paint_for(sys.stdout)):
        print(line)
    return 0
