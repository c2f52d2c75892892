"""Traces that are missing, cut short or damaged: what can be read is read, the rest is named."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sockfsm
from sockfsm.cli.main import main
from sockfsm.errors import TraceError
from sockfsm.events import Call
from sockfsm.record.layout import SLOT
from sockfsm.record.windows import SIZE
from sockfsm.trace.trace import Trace

TRACES = Path(__file__).parent.parent / "traces"
SMALL = ("simultaneous", "tcp-echo", "udp-echo", "unix-stale-path", "wrong-order", "zero-windows")


class Octets(bytes):
    """Bytes that do not print themselves when a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Octets:
    """The bytes of a good log."""
    folder = tmp_path_factory.mktemp("good")
    with sockfsm.tracing(folder) as trace:
        for _ in range(20):
            with socket.create_server(("127.0.0.1", 0)) as listening:
                client = socket.create_connection(listening.getsockname())
                data, _ = listening.accept()
                client.sendall(b"x")
                data.recv(1)
                data.close()
                client.close()
    return Octets(trace.logs[0].read_bytes())


def read(folder: Path, data: bytes) -> tuple[list[Call], list[str]]:
    folder.mkdir(exist_ok=True)
    (folder / "1-0.calls").write_bytes(data)
    trace = Trace.open(folder)
    calls = list(trace.calls())
    assert list(trace.transitions()) is not None
    assert trace.waits() is not None
    assert trace.sockets is not None
    return calls, trace.problems


def test_a_log_cut_anywhere_keeps_what_is_before(log: Octets, tmp_path: Path) -> None:
    whole, _ = read(tmp_path / "whole", log)
    for cut in range(SLOT * 8, len(log), SLOT * 7 + 5):
        calls, problems = read(tmp_path / "cut", log[:cut])
        assert [c.method for c in calls] == [c.method for c in whole[: len(calls)]]
        assert len(calls) >= sum(1 for _ in calls)
        if cut % SLOT:
            assert any("no whole record" in problem for problem in problems)


def test_slots_that_were_never_written_are_passed_over(log: Octets, tmp_path: Path) -> None:
    whole, _ = read(tmp_path / "whole", log)
    padded, problems = read(tmp_path / "padded", log[:-SLOT].ljust(SIZE, b"\0"))  # without a seal
    assert len(padded) == len(whole)
    assert problems == []


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_bytes_that_were_changed_never_crash_the_reader(
    log: Octets, tmp_path: Path, seed: int, count: int
) -> None:
    chance, data = random.Random(seed), bytearray(log)
    for _ in range(count):
        data[chance.randrange(16, len(data))] = chance.randrange(256)
    calls, _ = read(tmp_path / "changed", bytes(data))
    for call in calls:
        assert isinstance(call.method, str)
        assert call.thread is not None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(noise=st.binary(max_size=SLOT * 40))
def test_noise_behind_the_first_bytes(log: Octets, tmp_path: Path, noise: bytes) -> None:
    read(tmp_path / "noise", log[:SLOT] + noise)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such trace"),
        (lambda folder: folder.write_text("text"), "a trace is a folder"),
        (lambda folder: folder.mkdir(), "not a trace"),
        (
            lambda folder: (folder.mkdir(), (folder / "1-0.calls").write_text("something else")),
            "not a call log",
        ),
    ],
)
def test_one_clear_line_and_status_2(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "trace"
    make(folder)
    for command in ("show", "handshake", "diagram"):
        done = subprocess.run(
            [sys.executable, "-m", "sockfsm", command, str(folder)], capture_output=True, text=True
        )
        assert done.returncode == 2, (command, done.stdout)
        assert len(done.stderr.splitlines()) == 1, (command, done.stderr)
        assert done.stderr.startswith("sockfsm: ")
    if message != "not a call log":
        with pytest.raises(TraceError, match=message):
            Trace.open(folder)


def spoil(folder: Path, chance: random.Random) -> None:
    """Change some bytes of some files, and cut some short."""
    for file in sorted(folder.iterdir()):
        if chance.random() < 0.4:
            continue
        data = bytearray(file.read_bytes())
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        file.write_bytes(data)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(SMALL))
def test_every_command_reads_what_can_be_read(
    seed: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spoilt"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TRACES / name, folder, ignore=shutil.ignore_patterns("*.svg"))
    spoil(folder, random.Random(seed))
    for command in (
        ["show"],
        ["show", "--list"],
        ["show", "--json"],
        ["handshake"],
        ["blocked"],
        ["lint"],
        ["export", "-o", str(tmp_path / "out.pcapng")],
        ["export", "-o", str(tmp_path / "out.csv")],
        ["export", "-o", str(tmp_path / "out.json")],
    ):
        status = main([*command, str(folder)])
        printed = capsys.readouterr()
        assert status in (0, 1, 2)
        assert all(line.isprintable() for line in printed.out.splitlines())
        if status == 2:
            assert printed.err.count("\n") == 1
