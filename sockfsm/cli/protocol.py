"""`sockfsm protocol`: the dialogues of a protocol above sockets in a trace, and what was illegal."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.protocols.payload import Conversation
    from sockfsm.protocols.protocol import Protocol

_EXAMPLES = """examples:
  sockfsm run --payload -o trace mail.py      record what is said, too
  sockfsm protocol smtp trace                 each dialogue, and what was out of order
  sockfsm protocol smtp trace --port 2525
  sockfsm protocol smtp trace -o path.svg     the ways that were taken; the rest is grey
  sockfsm protocol homework.py:CHAT trace     a protocol of your own
  sockfsm check smtp greeting EHLO DATA       predict it without a trace
  sockfsm machine smtp                        its states and rules
  sockfsm diagram smtp -o smtp.svg            its picture

Without --port the connections to the protocol's usual ports are read; where there are none, all that
speak it. The exit status is 1 where a request was illegal, or was answered as no rule says.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "protocol",
        help="follow a protocol above sockets, such as SMTP, through a trace",
        description="Read the dialogues of a protocol from the packets of a trace: each request and "
        "reply, the states between them, and the requests that the protocol forbids there.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("protocol", metavar="PROTOCOL", help="smtp, MODULE:NAME or FILE.py:NAME")
    parser.add_argument("trace", metavar="TRACE", help="the folder of a trace with payload")
    parser.add_argument("--port", type=int, metavar="N", help="only connections to this port")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="draw the paths that the dialogues took here"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per dialogue")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the dialogues; 1 if something is wrong in one. SockfsmError for what cannot be read."""
    from sockfsm.protocols.names import protocol
    from sockfsm.protocols.payload import conversations
    from sockfsm.trace.trace import Trace
    from sockfsm.views.dialogues import as_json, lines
    from sockfsm.views.incomplete import incomplete, lacking
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.text import paint_for
    from sockfsm.views.timeline import zero_of

    wanted = protocol(args.protocol)
    trace = Trace.open(args.trace)
    lanes = Lanes(trace, index=True)
    found = conversations(trace, wanted, args.port)
    if not found:
        where = f"to port {args.port}" if args.port is not None else f"that speaks {wanted.name}"
        raise UsageError(f"{args.trace}: no captured TCP connection {where}")
    if args.json:
        for talk in found:
            print(json.dumps(as_json(talk, lanes)))
        if problems := lacking(trace):
            print(json.dumps({"problems": problems}))
    else:
        for line in lines(found, lanes, zero_of(lanes.processes), paint_for(sys.stdout)):
            print(line)
        for line in incomplete(trace):
            print(line)
    if args.output:
        _draw(args, wanted, found)
    wrong = any(e.illegal or not e.explained for talk in found for e in talk.dialogue.exchanges)
    return 1 if wrong or any(talk.dialogue.broken for talk in found) else 0


def _draw(args: argparse.Namespace, wanted: Protocol, found: list[Conversation]) -> None:
    from sockfsm.diagrams.path import path
    from sockfsm.diagrams.render import save
    from sockfsm.protocols.payload import as_calls
    from sockfsm.views.text import plain

    title = f"{wanted.name} in {plain(Path(args.trace).name or args.trace)}"
    saved = save(path(as_calls(found), title=title, machines=[wanted.machine]), args.output)
    print(f"wrote {saved}", file=sys.stderr if args.json else sys.stdout)
