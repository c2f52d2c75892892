"""`sockfsm diagram`: draws a kind's machine, the life of a stream server, or the path of a trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS, flat_of, has_machine
from sockfsm.protocols.names import is_protocol, kind_named

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.diagrams.graph import Graph

SERVER = "server"
TCP_STATES = "tcp-states"
_EXAMPLES = """examples:
  sockfsm diagram tcp -o tcp.svg              the life of a TCP socket
  sockfsm diagram unix-stream --refusals      a kind with its refused calls, as DOT
  sockfsm diagram server -o server.png        a stream server, its data socket and its client
  sockfsm diagram tcp-states -o states.svg    TCP's own states, as in RFC 9293
  sockfsm diagram sockfsm-trace -o run.svg    what a traced program did, over its machine
  sockfsm diagram sockfsm-trace --socket 3    the same for one of its sockets

The suffix of FILE chooses the format: .svg, .png, .dot (or .gv), .mmd (Mermaid). Without -o, DOT or
Mermaid is printed. SVG and PNG need Graphviz's `dot`, or `pip install sockfsm[draw]`.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "diagram",
        help="draw a kind's machine, or a trace's path over it",
        description="Draw the machine of a kind of socket, the life of a stream server, or the path "
        "that a trace took over its machines.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        help=f"a kind ({', '.join(KINDS)}), {SERVER}, {TCP_STATES}, a protocol (smtp, "
        "FILE.py:NAME), or a trace's folder",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the picture here")
    parser.add_argument(
        "--format", choices=("dot", "mmd"), default="dot", help="what to print without -o"
    )
    parser.add_argument(
        "--refusals", action="store_true", help="kind: add the refused calls with their errnos"
    )
    parser.add_argument(
        "--full", action="store_true", help="kind or trace: draw all states, not only the main ones"
    )
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="N",
        help="trace: only this socket: #3, 3 or its identity (repeatable)",
    )
    parser.add_argument("--kind", choices=KINDS, help="trace: only the sockets of this kind")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw to a file, or print text. SockfsmError if it cannot be drawn or written."""
    graph = _graph(args)
    if args.output is None:
        from sockfsm.diagrams.render import draw

        sys.stdout.write(draw(graph, args.format).decode())
        return 0
    from sockfsm.diagrams.render import save

    print(f"wrote {save(graph, args.output)}")
    return 0


def _graph(args: argparse.Namespace) -> Graph:
    if is_protocol(args.what):
        args.what = kind_named(args.what)
    # A folder with the name of a kind is drawn as ./tcp.
    if has_machine(args.what) or args.what in (SERVER, TCP_STATES):
        if args.socket or args.kind:
            raise UsageError(f"--socket and --kind are for a trace, and {args.what} is not a trace")
    elif not Path(args.what).exists():
        raise UsageError(
            f"no kind and no trace {args.what!r}: choose one of {', '.join(KINDS)}, {SERVER}, "
            f"{TCP_STATES}, or the folder of a trace"
        )
    elif args.refusals:
        raise UsageError("--refusals is for a kind: a trace's own refusals are always drawn")
    if args.what in (SERVER, TCP_STATES):
        if args.refusals or args.full:
            raise UsageError(f"{args.what} takes neither --refusals nor --full")
        if args.what == SERVER:
            from sockfsm.diagrams.server import server

            return server()
        from sockfsm.diagrams.tcp_states import tcp_states

        return tcp_states()
    if has_machine(args.what):
        from sockfsm.diagrams.lifecycle import lifecycle

        return lifecycle(flat_of(args.what), refusals=args.refusals, full=args.full)
    return _path(args)


def _path(args: argparse.Namespace) -> Graph:
    from sockfsm.diagrams.path import path
    from sockfsm.trace.trace import Trace
    from sockfsm.views.incomplete import incomplete
    from sockfsm.views.lanes import Lanes
    from sockfsm.views.text import plain

    trace = Trace.open(args.what)
    calls = iter(trace.calls())
    title = Path(args.what).name or args.what
    if args.socket:
        wanted = Lanes(trace).identities(args.socket)
        calls = (call for call in calls if call.socket and call.socket.identity in wanted)
        title += ", socket " + " ".join(args.socket)
    if args.kind:
        calls = (call for call in calls if call.socket and call.socket.kind == args.kind)
        title += f", {args.kind}"
    graph = path(calls, title=plain(title), full=args.full)
    for line in incomplete(trace):
        graph.notes.append(line)
        print(f"sockfsm: {line}", file=sys.stderr)
    return graph
