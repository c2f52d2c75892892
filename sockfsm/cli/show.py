"""`sockfsm show`: prints the timeline of a trace."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.trace.trace import Trace

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.selection import Selection

_EXAMPLES = """examples:
  sockfsm show sockfsm-trace
  sockfsm show sockfsm-trace --socket 3 --from 1.5 --to 1.6
  sockfsm show sockfsm-trace --port 8080
  sockfsm show sockfsm-trace --list | grep REFUSED
  sockfsm show sockfsm-trace --json | jq 'select(.refused)'

how to read the ladder:
 0.279229                  #2 ┏ connect(127.0.0.1:34103)     echo.py:20 ▒
 0.279277 SYN-SENT         #2 ┃ connect ────── SYN seq 0 ─────> accept ▒ #1     SYN-RECEIVED
 0.279339 CONNECTED        #2 ┗ connect = ok                            ▒
  Time runs down, in seconds since the program started. Each row shows the two ends of one
  connection: on the left the socket that connects, on the right the listening socket and those that
  it accepted. A call is a span from where it begins to where it returns, shaded while it blocks. An
  arrow is a packet; its tail names the call that caused it, its head the call whose wait it ended.
  'queued' means that the call had returned before. Sequence numbers count from each side's first
  one. A state is shown when it changes: CONNECTED is the API's, SYN-SENT is TCP's (RFC 9293). If the
  kernel's own states were recorded, they stand in the middle; the kernel says CLOSED where TCP is in
  TIME-WAIT. AF_UNIX sockets have no packets; their messages (dotted arrows) are put together from
  the calls of both ends.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "show",
        help="the timeline of a trace: calls, states, waits and packets",
        description="Show a trace on one timeline: calls, states, waits and packets of both ends.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trace", metavar="TRACE", help="the folder that `sockfsm run` wrote")
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="N",
        help="only this socket: #3, 3 or its identity (repeatable)",
    )
    parser.add_argument(
        "--port",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="only events about this port, at either end (repeatable)",
    )
    parser.add_argument(
        "--thread",
        action="append",
        default=[],
        metavar="NAME",
        help="only this thread (main, 'p2 main') or process (p2), and its packets (repeatable)",
    )
    parser.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="begin at this time after the start: 1.5, 20ms, 300us",
    )
    parser.add_argument("--to", dest="until", metavar="TIME", help="stop at this time")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--list", action="store_true", help="one line per event, for grep")
    form.add_argument("--json", action="store_true", help="one JSON object per line, times in ns")
    parser.add_argument("--no-pager", action="store_true", help="print everything, without $PAGER")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the timeline. SockfsmError for an unreadable trace, or a filter that matches nothing."""
    from sockfsm.cli.pager import columns, page
    from sockfsm.views import jsonlines
    from sockfsm.views.glyphs import glyphs_for
    from sockfsm.views.ladder import Ladder
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.text import paint_for
    from sockfsm.views.timeline import Timeline

    trace = Trace.open(args.trace)
    # With the index, because every view needs it next, and the summary is cached.
    selection = _selection(args, Lanes(trace, index=True))
    paint = paint_for(sys.stdout)
    if args.json:
        lines = jsonlines.lines(trace, selection)
    elif args.list:
        lines = Timeline(trace, paint).lines(selection)
    else:
        ladder = Ladder(trace, paint, glyphs_for(sys.stdout), columns())
        lines = ladder.lines(selection, trace.kernel_states())
    page(lines, wanted=not args.no_pager)
    return 0


def _selection(args: argparse.Namespace, lanes: Lanes) -> Selection:
    from sockfsm.views.selection import Selection, parse_span

    since = None if args.since is None else parse_span(args.since)
    until = None if args.until is None else parse_span(args.until)
    if since is not None and until is not None and until < since:
        raise UsageError(f"--from {args.since} is after --to {args.until}: nothing is between them")
    return Selection(
        sockets=lanes.identities(args.socket) if args.socket else None,
        threads=lanes.threads(args.thread) if args.thread else None,
        ports=lanes.ports(args.port) if args.port else None,
        since=since,
        until=until,
    )
