"""Long output is paged on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import sockfsm


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import socket

    path = tmp_path_factory.mktemp("pager") / "trace"
    with sockfsm.tracing(path):
        for _ in range(40):
            socket.socket().close()
    return path


def on_a_terminal(trace: Path, pager: str, *more: str) -> tuple[str, int]:
    """What `sockfsm show` writes to a terminal, and its exit status."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "sockfsm", "show", str(trace), *more]
    environment = {**os.environ, "PAGER": pager, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=follower, env=environment) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:  # EIO: the last writer has gone
                break
            if not data:
                break
            text += data
    os.close(leader)
    return text.decode(), process.returncode


def test_paged_on_a_terminal(trace: Path) -> None:
    text, status = on_a_terminal(trace, "sed 's/^/paged: /'")
    assert status == 0
    assert all(line.startswith("paged: ") for line in text.splitlines())
    assert text.count("close() = ok") == 40
    assert "\x1b[" in text


def test_not_paged_when_not_wanted(trace: Path) -> None:
    text, status = on_a_terminal(trace, "sed 's/^/paged: /'", "--no-pager")
    assert (status, "paged: " in text, text.count("close() = ok")) == (0, False, 40)


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager-here", "'"])
def test_no_pager_to_be_had(trace: Path, pager: str) -> None:
    text, status = on_a_terminal(trace, pager)
    assert (status, text.count("close() = ok")) == (0, 40)


def test_a_pager_that_is_quit(trace: Path) -> None:
    text, status = on_a_terminal(trace, "head -n 3", "--json")
    assert (status, len(text.splitlines())) == (0, 3)


def test_never_paged_into_a_pipe(trace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sockfsm", "show", trace],
        capture_output=True,
        text=True,
        env={**os.environ, "PAGER": "false"},
        check=True,
    )
    assert done.stdout.count("close() = ok") == 40
