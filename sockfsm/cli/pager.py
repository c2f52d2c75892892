"""Sends long output through the user's pager if it goes to a terminal, as git(1) does."""

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

_AT_ONCE = 200  # lines in one write


def page(lines: Iterable[str], *, wanted: bool = True) -> None:
    """Print `lines`; if standard output is a terminal, through $PAGER or `less`.

    No pager is used if PAGER is empty, `cat`, or not installed. With LESS=FRX, which is set unless the
    user has set LESS, `less` prints what fits on a screen and ends. Quitting the pager ends the output.
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
        # Ctrl-C is meant for the pager, where it ends a search.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for text in _blocks(lines):
                process.stdin.write(text)
            process.stdin.close()
            process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Yield many lines at a time: without buffering (python -u), each would be a write of its own."""
    left = iter(lines)
    while block := list(islice(left, _AT_ONCE)):
        yield "\n".join(block) + "\n"


def columns() -> int:
    """The width for a ladder: the terminal's, between 100 and 140; 100 if there is no terminal."""
    if not sys.stdout.isatty():
        return 100
    return min(max(shutil.get_terminal_size().columns, 100), 140)


def pager() -> str:
    """The pager's shell command; '' if there is none, or it is not installed."""
    command = os.environ.get("PAGER", "less").strip()
    words = shlex.split(command) if command.count("'") % 2 == command.count('"') % 2 == 0 else []
    if command == "cat" or not words or shutil.which(words[0]) is None:
        return ""
    return command
