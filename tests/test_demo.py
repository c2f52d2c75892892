"""`sockfsm demo` from its first line to its files."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from test_run_network import without_capturing

import sockfsm
from sockfsm.cli.main import main
from sockfsm.demo import play, tcp_echo, wrong_order
from sockfsm.trace.trace import Trace


def demo(
    *arguments: str, cwd: Path, under: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*under, sys.executable, "-m", "sockfsm", "demo", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_demo_shows_everything_and_writes_it(tmp_path: Path) -> None:
    done = demo(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "$ sockfsm show sockfsm-demo/trace",
        "FAILED ECONNREFUSED",
        "REFUSED EINVAL",
        "unlink(",
        "$ sockfsm diagram sockfsm-demo/trace --kind tcp -o sockfsm-demo/tcp.svg",
        "is illegal in state BOUND",
        "Everything is in sockfsm-demo: tcp.svg, trace, udp.svg, unix-stream.svg",
    ):
        assert words in done.stdout, words
    trace = Trace.open(tmp_path / "sockfsm-demo" / "trace")
    if list(trace.packets()):
        assert "$ sockfsm handshake sockfsm-demo/trace" in done.stdout
    assert (tmp_path / "sockfsm-demo" / "tcp.svg").read_bytes().lstrip().startswith(b"<?xml")
    assert [call for call in trace.calls() if not call.explained] == []


def test_without_permission_the_demo_has_packets_all_the_same(tmp_path: Path) -> None:
    done = demo(cwd=tmp_path, under=without_capturing())
    assert done.returncode == 0, done.stderr
    assert "only its own loopback" in done.stderr
    assert "$ sockfsm handshake sockfsm-demo/trace" in done.stdout


def test_a_second_demo_takes_the_next_name(tmp_path: Path) -> None:
    (tmp_path / "sockfsm-demo").mkdir()
    done = demo(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Everything is in sockfsm-demo-2:" in done.stdout


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert "is not empty; choose a new folder" in capsys.readouterr().err
    assert main(["demo", "-o", str(tmp_path / "mine.txt" / "below")]) == 2
    assert "cannot write there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_mistakes_are_the_kernels_own() -> None:
    with sockfsm.tracing() as trace:
        errors = wrong_order.mistakes()
    expected = [errno.EINVAL, errno.ENOTCONN, errno.EINVAL, errno.EBADF]
    assert [error.errno for error in errors] == expected
    refused = [call for call in trace.calls() if call.refused]
    assert [(call.method, call.before) for call in refused] == [
        ("accept", "BOUND"),
        ("recv", "LISTENING"),
        ("listen", "CONNECTED"),
        ("accept", "CLOSED"),
    ]


def test_the_client_tries_every_address() -> None:
    with sockfsm.tracing() as trace:
        play.play_tcp()
    tried = [(call.address, call.outcome) for call in trace.calls() if call.call == "connect"]
    assert tried[-1][1] == "ok"
    assert all(outcome == "ECONNREFUSED" for _, outcome in tried[:-1])


def test_a_client_without_a_server_says_so() -> None:
    with pytest.raises(ConnectionRefusedError, match="nobody listens"):
        # Port 1 of the loopback addresses: tcpmux, which no test machine serves.
        tcp_echo.client(1, b"hello")


def test_an_actor_hands_on_what_its_function_raised() -> None:
    def broken(ready: object) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        play._served("broken", broken)
