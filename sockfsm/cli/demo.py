"""`sockfsm demo`: real servers and clients, traced and captured, and shown in every way."""

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

_INTRO = """A TCP echo whose client tries the addresses of getaddrinfo in turn, a UDP echo, a UNIX
stream server that removes the name of a crashed one first, and four calls in the wrong order.
The programs are plain Python with `socket`; read them in {source}
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
    """Play the demo. SockfsmError when its folder cannot be written."""
    import sockfsm.demo
    from sockfsm.demo.play import lesson, record
    from sockfsm.trace.trace import PACKETS
    from sockfsm.wire.namespace import enter_to_capture

    folder = _folder(args.output)
    shown = Path(os.path.relpath(folder)) if args.output is None else folder
    trace = shown / "trace"
    print(_INTRO.format(source=os.path.dirname(sockfsm.demo.__file__)))
    sys.stdout.flush()
    enter_to_capture(lambda line: print(f"sockfsm: {line}", file=sys.stderr))
    record(trace)
    _command("show", str(trace))
    if (trace / PACKETS).exists():
        _command("handshake", str(trace))
    for kind in ("tcp", "udp", "unix-stream"):
        _command("diagram", str(trace), "--kind", kind, "-o", str(shown / f"{kind}.svg"))
    print("\nWith --enforce, a mistake is stopped before the kernel sees it, and explained:\n")
    for line in lesson().splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        print(*wrap(line, 100, subsequent_indent=indent, drop_whitespace=True), sep="\n")
    print(f"\nEverything is in {shown}: {', '.join(sorted(os.listdir(shown)))}")
    return 0


def _command(*words: str) -> None:
    """Run another command of ours, shown as one would type it."""
    from sockfsm.cli.main import parser_for

    print(f"\n$ sockfsm {shlex.join(words)}\n")
    args = parser_for(words).parse_args(words)
    try:
        args.func(args)
    except SockfsmError as error:
        # A picture that cannot be drawn here (no Graphviz) does not end the demo.
        print(f"sockfsm: {error}")


def _folder(output: str | None) -> Path:
    """The demo's folder, made. UsageError when it cannot be, or when it holds something else."""
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
        raise UsageError(f"{folder}: cannot write there: {error.strerror}; choose -o DIR") from None
    return folder
