"""`sockfsm handshake`: shows how the connections of a trace or a capture file opened and closed."""

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
  sockfsm handshake lecture.pcap.gz           any pcap or pcapng file, compressed or not
  sockfsm handshake lecture.pcapng --port 80  only connections to or from that port
  sockfsm handshake sockfsm-trace --json | jq '.connections[].opening.round_trip'

how to read it:
  Each arrow is a segment. On its left is the client's TCP state after it, on its right the server's
  (RFC 9293). Sequence numbers count from each end's first one. `?!` marks a segment that no rule
  explains, such as a reset with a wrong sequence number, which its receiver must ignore. For a trace,
  the calls behind the segments are named, and `kernel` shows the kernel's own states.
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
    parser.add_argument("--no-pager", action="store_true", help="print everything, without $PAGER")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the handshakes. SockfsmError if the source has no packets that can be read."""
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
        # The kernel's record may have been named already.
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
    """The kernel's own states, if they were recorded."""
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
