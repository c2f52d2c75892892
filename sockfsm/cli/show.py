"""`sockfsm show`: the timeline of a trace in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sockfsm.trace.trace import Trace

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.selection import Selection

_EXAMPLES = """examples:
  sockfsm show sockfsm-trace
  sockfsm show sockfsm-trace --socket 3 --from 1.5 --to 1.6
  sockfsm show sockfsm-trace --json | jq 'select(.refused)'

how to read a line:
  0.052341 main  #1   bind(127.0.0.1:40001) = ok    CREATED -> BOUND    echo.py:15
  seconds since the program started, thread (p2: the second process), socket, call and how it
  ended, the socket's state before and after, and the program's line. A call that waits to take
  something stands where it returned, any other call where it began, so that effects come after
  their causes. Sequence numbers count from each side's first one.
  0.061022           #2 --SYN--> #1      seq 0 len 0      by connect, ends accept of #1  echo.py:31
  a packet, the call that caused it, and the wait that it ended. AF_UNIX sockets have no packets:
  their messages are put together from the calls of both ends.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "show",
        help="the timeline of a trace: calls, states, waits and packets",
        description="Show a trace as a timeline: each call, its states and waits, and each packet.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trace", metavar="TRACE", help="the folder that `sockfsm run` wrote")
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="N",
        help="only this socket, as #3, 3 or its identity (repeatable)",
    )
    parser.add_argument(
        "--thread",
        action="append",
        default=[],
        metavar="NAME",
        help="only this thread (main, 'p2 main') or process (p2), and what it sent (repeatable)",
    )
    parser.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="begin here: 1.5, 20ms, 300us after the start",
    )
    parser.add_argument("--to", dest="until", metavar="TIME", help="stop here")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, times in ns")
    parser.add_argument(
        "--no-pager", action="store_true", help="on a terminal: print all, do not start $PAGER"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the timeline. SockfsmError for an unreadable trace or a filter that names nothing."""
    from sockfsm.cli.pager import page
    from sockfsm.views import jsonlines
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.text import paint_for
    from sockfsm.views.timeline import Timeline

    trace = Trace.open(args.trace)
    selection = _selection(args, Lanes(trace, index=True))
    if args.json:
        lines = jsonlines.lines(trace, selection)
    else:
        lines = Timeline(trace, paint_for(sys.stdout)).lines(selection)
    page(lines, wanted=not args.no_pager)
    return 0


def _selection(args: argparse.Namespace, lanes: Lanes) -> Selection:
    from sockfsm.views.selection import Selection, parse_span

    return Selection(
        sockets=lanes.identities(args.socket) if args.socket else None,
        threads=lanes.threads(args.thread) if args.thread else None,
        since=None if args.since is None else parse_span(args.since),
        until=None if args.until is None else parse_span(args.until),
    )
