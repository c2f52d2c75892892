"""`sockfsm show` and `sockfsm blocked` on traces of real sockets."""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sockfsm
from sockfsm.cli.main import main
from sockfsm.trace.trace import Trace


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """One connection, a refused call, and a name with an escape sequence."""
    with sockfsm.tracing(tmp_path / "trace"):
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        conn, _ = server.accept()
        with server, client, conn:
            client.sendall(b"hello")
            conn.recv(100)
            with pytest.raises(OSError, match="Invalid"):
                conn.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            path = str(tmp_path / "\x1b[2Jevil")
            sock.bind(path)
        os.unlink(path)
    return str(tmp_path / "trace")


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_show_draws_a_ladder(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(capsys, trace)
    text = "\n".join(lines)
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert re.search(r"#2 ┣ sendall\(5 B\) = ok", text)
    assert re.search(r"recv\(100 B\) = 5 B ┫ #3", text)
    assert re.search(r"listen\(\) = REFUSED EINVAL ┫ #3", text)
    assert re.search(r"listen\(\d*\) = ok ┫ #1 +LISTENING", text)
    assert "\\x1b[2Jevil" in text
    assert "test_show.py:" in text


def test_show_list(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(capsys, trace, "--list")
    text = "\n".join(lines)
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert "BOUND -> LISTENING" in text
    assert "listen() = REFUSED EINVAL" in text
    assert "sendall(5 B) = ok" in text
    assert "recv(100 B) = 5 B" in text
    assert "accept() = #3" in text
    assert "\\x1b[2Jevil" in text
    assert "test_show.py:" in text


def test_show_json_is_whole(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    items = [json.loads(line) for line in show(capsys, trace, "--json")]
    calls = [item for item in items if item["type"] == "call"]
    assert len(calls) == items[-1]["calls"] == len(list(Trace.open(trace).calls()))
    assert [call["method"] for call in calls if call["refused"]] == ["listen"]
    assert [call["at"] for call in calls] == sorted(call["at"] for call in calls)


def test_show_one_socket(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    calls = "\n".join(show(capsys, trace, "--list", "--socket", "#3")).split("\n\n")[1]
    lanes = {line.split()[2] for line in calls.splitlines() if line[:12].strip()}
    assert lanes == {"#3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--socket", "99"], "no socket 99 in this trace: it has #1 to #4"),
        (["--thread", "nobody"], "no thread nobody in this trace: it has main"),
        (["--from", "soon"], "'soon' is no time"),
    ],
)
def test_filters_that_fit_nothing(
    trace: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", trace, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_is_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path)]) == 2
    assert "not a trace" in capsys.readouterr().err


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Path]:
    """A thread is blocked in accept while the test runs."""
    with sockfsm.tracing(tmp_path / "trace"), socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close(), name="patient")
        thread.start()
        while not sockfsm.blocked():
            pass
        yield tmp_path / "trace"
        socket.create_connection(server.getsockname()).close()
        thread.join()


def test_blocked_while_it_waits(waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocked", str(waiting)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("blocked for ")
    assert "accept() on #1 tcp 127.0.0.1:" in first
    assert f"pid {os.getpid()} thread patient" in second
    assert "test_show.py:" in second


def test_nothing_blocked_after_it(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocked", trace]) == 0
    assert capsys.readouterr().out == "no call is blocked\n"
