"""`sockfsm run`: runs an unmodified Python program, with its sockets and its children traced."""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import shutil
import sys
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers

_FULL = (ENOSPC, EDQUOT)

_EXAMPLES = """examples:
  sockfsm run server.py --port 8000
  sockfsm run -o trace --enforce client.py     stop calls that the machine refuses
  sockfsm run -m http.server 8000
  sockfsm run pytest tests/                    any command that is a Python script
  sockfsm run --no-capture client.py           only calls; always in the host's network
  sockfsm run --payload client.py              the packets' payload too, for Wireshark

Capturing needs CAP_NET_RAW: root, or setcap cap_net_raw+ep on the Python. Without it the program
runs in a network namespace of its own: it sees only its own loopback, no other host or server, and
nobody outside can connect to it; programs that get rights from their file (sudo, ping, su) do not get
them there. With --no-capture it stays in the host's network.

The program's exit status, output and signals are its own. Children by fork and
multiprocessing are traced too, and every Python that it starts, unless with -I or -E. The trace is a
folder: look at it with sockfsm show, handshake and diagram.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    from sockfsm.record import sizes

    parser = subparsers.add_parser(
        "run",
        help="trace a Python program, unmodified, and its children",
        description="Run a Python program with all its sockets traced, and capture their packets.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="sockfsm run [-o DIR] [--enforce] [--no-capture | --payload]\n"
        "                   [--all-packets] [--interface NAME] [--own-network]\n"
        "                   [--[no-]kernel-states] [--max-size SIZE]\n"
        "                   (PROGRAM | -m MODULE) [ARGS ...]",
    )
    parser.add_argument("-o", dest="output", metavar="DIR", help="the trace's folder, new or empty")
    parser.add_argument(
        "--enforce", action="store_true", help="raise IllegalCall where the machine refuses a call"
    )
    captured = parser.add_mutually_exclusive_group()
    captured.add_argument("--no-capture", action="store_true", help="calls only, no packets")
    parser.add_argument(
        "--all-packets",
        action="store_true",
        help="keep all of loopback's packets, not only the traced connections'",
    )
    parser.add_argument(
        "--interface", default="lo", metavar="NAME", help="capture this interface (default: lo)"
    )
    captured.add_argument(
        "--payload", action="store_true", help="keep the packets' payload too, not only headers"
    )
    parser.add_argument(
        "--own-network",
        action="store_true",
        help="run in a network namespace of its own, where it sees only its own loopback; the default "
        "without permission to capture, unless --no-capture is given",
    )
    parser.add_argument(
        "--kernel-states",
        action=argparse.BooleanOptionalAction,
        help="record the kernel's own TCP states, for show and handshake; the default with packets, if "
        "root and tracefs allow it",
    )
    parser.add_argument(
        "--max-size",
        type=sizes.parse,
        default="512M",
        metavar="SIZE",
        help="the most that calls may take on disk, and packets again; the newest are kept "
        "(default: 512M)",
    )
    parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module's name")
    parser.add_argument("program", metavar="PROGRAM")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the program; the exit status is its own."""
    from sockfsm.run.supervise import Options, report, supervise

    command = command_for(args.program, args.args, args.module)
    folder = folder_for(args.output)
    options = Options(
        mode="enforce" if args.enforce else "observe",
        capture=not args.no_capture,
        all_packets=args.all_packets,
        own_network=args.own_network,
        kernel_states=args.kernel_states,
        payload=args.payload,
        interface=args.interface,
        max_size=args.max_size,
    )
    status = supervise(command, folder, options)
    if (args.output is None or _seen()) and folder.is_dir():
        shown = shlex.quote(_shortest(folder))
        report(f"trace in {shown}; see it with: sockfsm show {shown}")
    if status < 0:
        from sockfsm.run.signals import die_of

        die_of(-status)
    return status


def _seen() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _shortest(folder: Path) -> str:
    try:
        return os.path.relpath(folder)
    except OSError:  # the working directory is gone
        return str(folder)


def folder_for(output: str | None) -> Path:
    """Make the trace's folder. UsageError if that is impossible, or if it holds something else.

    A full disk is no error: then the program runs untraced.
    """
    from sockfsm import private

    if output is None:
        names = itertools.chain(
            ["sockfsm-trace"], (f"sockfsm-trace-{n}" for n in itertools.count(2))
        )
        folder = next(path for name in names if not os.path.lexists(path := Path(name)))
    else:
        folder = Path(output)
    try:
        _make(folder)
        if any(folder.iterdir()):
            raise UsageError(f"{folder}: is not empty; choose a new folder for the trace")
        private.write(probe := folder / ".writable", b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror
        if error.errno not in _FULL:
            raise UsageError(
                f"{folder}: cannot write a trace there: {reason}; choose -o DIR"
            ) from None
    return folder if folder.is_absolute() else Path(os.path.realpath(folder))


def _make(folder: Path) -> None:
    """Make a private folder. OSError if the system fails, UsageError if it may not be used."""
    from sockfsm.record.folder import make_folder

    try:
        make_folder(str(folder))
    except UsageError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def command_for(program: str, args: list[str], module: bool) -> list[str]:
    """The command line that runs the program in Python. UsageError if there is no such program."""
    if module:
        return [sys.executable, "-m", program, *args]
    path = Path(program)
    if path.exists() and (path.suffix in (".py", ".pyw", ".pyz", ".zip") or path.is_dir()):
        return [sys.executable, program, *args]
    found = program if path.is_file() else shutil.which(program)
    if found is None:
        raise UsageError(f"{program}: no such program: neither a file nor a command on the PATH")
    first = _first_line(found)
    if first.startswith((b"\x7fELF", b"#!")):
        if b"python" in first or "python" in Path(found).resolve().name:
            return [found, *args] if os.access(found, os.X_OK) else [sys.executable, found, *args]
        raise UsageError(f"{program}: not a Python program; sockfsm traces Python's sockets")
    return [sys.executable, found, *args]


def _first_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.readline(256)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
