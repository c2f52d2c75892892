"""Long output through the user's pager when it goes to a terminal, as git(1) does it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

_AT_ONCE = 200


def page(lines: Iterable[str], *, wanted: bool = True) -> None:
    """Print `lines`, through $PAGER or `less` when standard output is a terminal.

    An empty PAGER, `cat` or one that is not installed stands for none. What fits on a screen less
    prints and ends (LESS=FRX unless set). Quitting the pager ends the output: nothing is wrong then.
    """
    command = pager() if wanted and sys.stdout.isatty() else ""
    if not command:
        for text in _blocks(lines):
            sys.stdout.write(text)
        return
    sys.stdout.flush()
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}
    with (
        suppress(BrokenPipeError),
        subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.PIPE,
            text=True,
            env=environment,
            errors="backslashreplace",
        ) as process,
    ):
        assert process.stdin is not None
        # From here on Ctrl-C is the pager's, which ends a search by it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for text in _blocks(lines):
                process.stdin.write(text)
            process.stdin.close()
            process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """The lines with their ends, some at a time: where Python does not buffer, each is a write."""
    left = iter(lines)
    while block := list(islice(left, _AT_ONCE)):
        yield "\n".join(block) + "\n"


def columns() -> int:
    """How wide a ladder may be: the terminal's width, 100 to 140; 100 where there is none."""
    if not sys.stdout.isatty():
        return 100
    return min(max(shutil.get_terminal_size().columns, 100), 140)


def pager() -> str:
    """The shell command that shows a long text; empty for none, and for one that is not there."""
    command = os.environ.get("PAGER", "less").strip()
    words = shlex.split(command) if command.count("'") % 2 == command.count('"') % 2 == 0 else []
    if command == "cat" or not words or shutil.which(words[0]) is None:
        return ""
    return command
