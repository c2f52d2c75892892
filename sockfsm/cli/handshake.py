"""`sockfsm handshake`: how the connections of a trace or a capture file opened and closed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import TraceError, UsageError

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.trace.kernel_paths import KernelPaths
    from sockfsm.trace.trace import Trace

_EXAMPLES = """examples:
  sockfsm handshake sockfsm-trace             the connections of a traced program
  sockfsm handshake lecture.pcap.gz           any pcap or pcapng file, gzip or not
  sockfsm handshake lecture.pcapng --port 80  only connections to or from that port
  sockfsm handshake sockfsm-trace --json | jq '.connections[].opening.round_trip'

how to read it:
  each line between the two ends is a segment; at the left the TCP state of the client after it,
  at the right the server's (RFC 9293). Sequence numbers count from each end's first one. `?!` marks
  what no rule explains, such as a reset of a wrong number, which its receiver must ignore. Of a
  trace, the calls behind the segments are named, and `kernel` are the kernel's own states.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "handshake",
        help="how each connection opened and closed, by its packets",
        description="Show each connection's opening, data and closing, segment by segment.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="TRACE|FILE",
        help="the folder that `sockfsm run` wrote, or a pcap or pcapng file",
    )
    parser.add_argument("--port", type=int, metavar="N", help="only connections with this port")
    parser.add_argument("--json", action="store_true", help="one JSON object, times in ns")
    parser.add_argument(
        "--no-pager", action="store_true", help="on a terminal: print all, do not start $PAGER"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the handshakes. SockfsmError for a source without readable packets."""
    from sockfsm.cli.pager import page
    from sockfsm.trace.trace import Trace
    from sockfsm.views import handshake as view
    from sockfsm.views.handshake_json import json_lines
    from sockfsm.views.incomplete import lacking
    from sockfsm.views.text import paint_for, plain
    from sockfsm.wire.handshake import inspect_file
    from sockfsm.wire.kernel_states import FILE

    problems: list[str] = []
    path = Path(args.source)
    trace = Trace.open(args.source) if path.is_dir() else None
    if trace is not None:
        path = _packets_of(trace)
        report = trace.report(args.port)
    else:
        report = inspect_file(path, problems, args.port)
    kernel = _kernel(path.with_name(FILE), problems)
    if trace is not None:
        problems += [line for line in lacking(trace) if line not in problems]
    if args.json:
        lines = json_lines(report, problems, kernel=kernel)
    else:
        heading = plain(str(path))
        paint = paint_for(sys.stdout)
        lines = view.lines(report, paint, problems, heading=heading, kernel=kernel)
    page(lines, wanted=not args.no_pager)
    return 0


def _kernel(path: Path, problems: list[str]) -> KernelPaths | None:
    """The kernel's own states, when they were recorded beside the packets."""
    if not path.exists():
        return None
    from sockfsm.trace.kernel_paths import KernelPaths
    from sockfsm.wire.kernel_record import read

    return KernelPaths(read(path, problems))


def _packets_of(trace: Trace) -> Path:
    """The capture file of a trace."""
    from sockfsm.trace.trace import PACKETS

    path = trace.path / PACKETS
    if not path.exists():
        why = trace.facts.capture
        reason = f" ({why})" if why else ""
        if not any(trace.logs):
            raise TraceError(f"{trace.path}: no trace and no capture file")
        raise UsageError(f"{trace.path}: the trace has no packets{reason}")
    return path
