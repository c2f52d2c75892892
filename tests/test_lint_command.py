"""`sockfsm lint`: what it finds in a real trace, and how lints are switched off."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import sockfsm


def lint(*arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "sockfsm", "lint", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lints") / "trace"
    with sockfsm.tracing(folder):
        server = socket.socket()
        server.listen()
        client = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
        data, _ = server.accept()
        data.close()
        assert client.recv(1) == b""
        client.send(b"to nobody")
        client.close()
        server.close()
    return folder


def test_findings_name_the_line_and_what_to_do_instead(trace: Path) -> None:
    status, out, _ = lint(trace)
    assert status == 1
    assert f"{__file__}:" in out
    assert "unbound-listen" in out
    assert "send-after-peer-closed" in out
    assert "Instead:" in out


def test_each_can_be_switched_off(trace: Path) -> None:
    status, out, _ = lint(trace, "--no-lint", "unbound-listen", "--json")
    assert status == 1
    assert {json.loads(line)["lint"] for line in out.splitlines()} == {"send-after-peer-closed"}
    off = ["--no-lint", "unbound-listen", "--no-lint", "send-after-peer-closed"]
    assert lint(trace, *off) == (0, "nothing found\n", "")


def test_every_lint_is_explained() -> None:
    from sockfsm.model.lints import LINTS

    status, out, _ = lint("--list")
    assert status == 0
    assert all(name in out for name in LINTS)


def test_bad_input(trace: Path) -> None:
    for arguments, message in (
        ((trace, "--no-lint", "nothing"), "nothing"),
        ((), "no trace"),
        (("/nowhere",), "no such trace"),
    ):
        status, _, error = lint(*arguments)
        assert status == 2
        assert message in error
        assert len(error.splitlines()) == 1


def test_what_was_open_at_the_end_is_told_by_where_it_was_made(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "data, _ = server.accept()\n"
        "client.close()\n"
    )
    folder = tmp_path / "trace"
    run = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder), str(program)]
    subprocess.run(run, check=True)
    status, out, _ = lint(folder)
    assert status == 1
    assert f"{program}:2: unclosed-at-exit\n" in out
    assert f"{program}:4: unclosed-data-socket\n" in out
    assert "#1 tcp 127.0.0.1:" in out
    assert "unknown place" not in out
    wide = [line for line in out.splitlines() if len(line) > 80 and str(tmp_path) not in line]
    assert wide == []
