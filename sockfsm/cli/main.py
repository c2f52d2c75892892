"""The command line: finds the command's module, runs it, and turns errors into exit statuses.

Each command is a module with a function `add(subparsers)`, which declares it and sets `func`. Only the
chosen command is imported, so that `sockfsm --help` is quick.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from sockfsm.errors import SockfsmError, UsageError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = {
    "demo": ("sockfsm.cli.demo", "trace real servers and clients, and show everything there is"),
    "run": ("sockfsm.cli.run", "trace a Python program, unmodified, and its children"),
    "show": ("sockfsm.cli.show", "the timeline of a trace: calls, states, waits and packets"),
    "blocked": ("sockfsm.cli.blocked", "which calls of a running program are blocked right now"),
    "handshake": ("sockfsm.cli.handshake", "how each connection opened and closed, by its packets"),
    "diagram": ("sockfsm.cli.diagram", "draw a kind's machine, or a trace's path over it"),
    "lint": ("sockfsm.cli.lint", "the mistakes in a trace that the kernel let through"),
    "machine": ("sockfsm.cli.machine", "the states, rules and refusals of a kind, and why"),
    "check": ("sockfsm.cli.check", "predict how a sequence of calls would end"),
    "protocol": ("sockfsm.cli.protocol", "follow a protocol above sockets, such as SMTP"),
    "simulate": ("sockfsm.cli.simulate", "play a scenario without a kernel, in virtual time"),
    "play": ("sockfsm.cli.play", "play a scenario with real sockets, captured"),
    "compare": ("sockfsm.cli.compare", "a scenario simulated and played: where they differ"),
    "explore": ("sockfsm.cli.explore", "search every schedule of a scenario for faults"),
    "conform": ("sockfsm.cli.conform", "compare the machines with the running kernel"),
    "learn": ("sockfsm.cli.learn", "learn the machine that the running kernel implements"),
    "export": ("sockfsm.cli.export", "write a trace for Wireshark, Perfetto, spreadsheets, ..."),
}
"""Command -> (module, one line of help), in the order of `--help`."""

_EXAMPLES = """examples:
  sockfsm demo                          see everything it can do, on real sockets
  sockfsm run server.py --port 8000     trace a program; with --enforce, stop illegal calls
  sockfsm run -m http.server            trace a module
  sockfsm show sockfsm-trace            what it did, call by call
  sockfsm handshake sockfsm-trace       how its connections opened and closed
  sockfsm diagram tcp -o tcp.svg        the life of a TCP socket as a picture
  sockfsm COMMAND --help                more about a command
"""

BAD_INPUT = 2
_BROKEN_PIPE = 128 + signal.SIGPIPE
_INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; 2, with one line on stderr, for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # In a process of our own, collect garbage rarely: a trace is many small objects and no cycles.
        gc.set_threshold(100_000, 50, 100)
    _prepare_output()
    try:
        try:
            args = _parsed(arguments)
            status: int = args.func(args)
        finally:
            if isinstance(sys.stdout, TextIOWrapper):  # it may be closed, or a test's
                sys.stdout.flush()
    except SockfsmError as error:
        print(f"sockfsm: {_inert(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # The reader (head, less) has ended, which is no error. Python flushes stdout at exit, and
        # must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    # No traceback: the user knows why.
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if (line := _told(error)) is None:
            raise
        print(f"sockfsm: {_inert(line)}", file=sys.stderr)
        return BAD_INPUT
    return status


def _parsed(arguments: list[str]) -> argparse.Namespace:
    args, unknown = parser_for(arguments).parse_known_args(arguments)
    if unknown:
        chosen = next(word for word in arguments if word in commands())
        raise UsageError(
            f"unrecognized arguments: {' '.join(unknown)}; see: sockfsm {chosen} --help"
        )
    return args


def _prepare_output() -> None:
    if sys.stdout is None:  # closed: as with print(), nothing is written and nobody complains
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if isinstance(sys.stdout, TextIOWrapper):
        # Escape letters that the terminal's encoding does not have.
        sys.stdout.reconfigure(errors="backslashreplace")


def _told(error: OSError) -> str | None:
    """A line about an error that is nobody's mistake in here; None for any other."""
    if error.filename is not None:  # of a path that was given: no permission, a name too long
        return f"{error.filename}: {error.strerror}"
    if error.errno == errno.ENOSPC:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"the output cannot be written: {error.strerror}"
    return None


def _inert(text: str) -> str:
    """Escape an error message: it names files and arguments, which may contain escape sequences."""
    from sockfsm.views.text import plain

    return plain(text)


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def commands() -> dict[str, tuple[str, str]]:
    """The part of COMMANDS that is installed."""
    return {name: entry for name, entry in COMMANDS.items() if find_spec(entry[0]) is not None}


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser. Only the command that `arguments` name is declared in full."""
    parser = _Parser(
        prog="sockfsm",
        description="See what your sockets really do: every call, state, wait and packet.",
        epilog=_EXAMPLES,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, line) in commands().items():
        if name == chosen:
            import_module(module).add(subparsers)
            subparsers.choices[name].formatter_class = _Formatter
        else:
            subparsers.add_parser(name, help=line)
    return parser


class _Formatter(argparse.HelpFormatter):
    """Leaves a description and an epilog as they are, but for what is wider than the terminal."""

    def __init__(self, prog: str) -> None:
        # Room for the longest command's name beside its help.
        super().__init__(prog, max_help_position=28)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from sockfsm.cli.fitting import fitted

        return "\n".join(indent + line for line in fitted(text, width - len(indent)))


class _Version(argparse.Action):
    """`--version`: reads the package's metadata only when the option is given."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"sockfsm {version('sockfsm')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
