"""`sockfsm demo`: traces real servers and clients, and shows the result in every way."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from itertools import chain, count
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from sockfsm.errors import SockfsmError, UsageError

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers

_INTRO = """A TCP echo whose client tries the addresses of getaddrinfo in turn; a UDP echo; a UNIX
stream server that first removes the name of a crashed one; and four calls in the wrong order.
The programs are plain Python with `socket`. Read them in {source}
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="trace real servers and clients, and show everything there is",
        description="Run small servers and clients (TCP, UDP, UNIX) and a few mistakes, traced and"
        " captured; print the timeline and the handshakes; write the trace and diagrams.",
    )
    parser.add_argument(
        "-o",
        dest="output",
        metavar="DIR",
        help="folder to write, new or empty (default: ./sockfsm-demo)",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo. SockfsmError if its folder cannot be written."""
    import sockfsm.demo
    from sockfsm.demo.play import lesson, record
    from sockfsm.trace.trace import PACKETS
    from sockfsm.wire.namespace import enter_to_capture

    folder = _folder(args.output)
    shown = Path(os.path.relpath(folder)) if args.output is None else folder
    trace = shown / "trace"
    print(_INTRO.format(source=os.path.dirname(sockfsm.demo.__file__)))
    # Otherwise the message below, on standard error, would come first.
    sys.stdout.flush()
    # Before any thread starts: a namespace can be entered by a single-threaded process only.
    enter_to_capture(lambda line: print(f"sockfsm: {line}", file=sys.stderr))
    record(trace)
    _command("show", str(trace))
    if (trace / PACKETS).exists():
        _command("handshake", str(trace))
    for kind in ("tcp", "udp", "unix-stream"):
        _command("diagram", str(trace), "--kind", kind, "-o", str(shown / f"{kind}.svg"))
    print("\nWith --enforce, a mistake is stopped before the kernel sees it, and is explained:\n")
    for line in lesson().splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        print(*wrap(line, 100, subsequent_indent=indent, drop_whitespace=True), sep="\n")
    print(f"\nEverything is in {shown}: {', '.join(sorted(os.listdir(shown)))}")
    return 0


def _command(*words: str) -> None:
    """Print a command as one would type it, and run it."""
    from sockfsm.cli.main import parser_for

    print(f"\n$ sockfsm {shlex.join(words)}\n")
    args = parser_for(words).parse_args(words)
    try:
        args.func(args)
    except SockfsmError as error:
        # The demo goes on even if a picture cannot be drawn because Graphviz is missing.
        print(f"sockfsm: {error}")


def _folder(output: str | None) -> Path:
    """Make the demo's folder. UsageError if that is not possible, or if it is not empty."""
    if output is None:
        names = chain(["sockfsm-demo"], (f"sockfsm-demo-{number}" for number in count(2)))
        folder = next(path for name in names if not (path := Path(name)).exists())
    else:
        folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder}: is not empty; choose a new folder with -o DIR")
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot write there: {error.strerror}; choose another folder with -o DIR"
        ) from None
    return folder
