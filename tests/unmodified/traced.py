"""Runs programs under `sockfsm run` and asks their traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

from sockfsm.events import Call, Socket
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.wire.findings import Report
from sockfsm.wire.handshake import inspect

PROGRAMS = Path(__file__).parent / "programs"


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    """`sockfsm run -o folder command`, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "sockfsm", "run", "-o", str(folder), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """Ours, with lines that come when they are printed."""
    import os

    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def run(folder: Path, *command: str) -> Trace:
    """Run a program to its end, which has to be a good one, and give its trace."""
    process = start(folder, *command)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, out + err
    return Trace.open(folder)


def program(name: str) -> str:
    """The path of one of the programs beside this file."""
    return str(PROGRAMS / f"{name}.py")


def packets_of(trace: Trace) -> Report | None:
    """What the packets say; None where this machine does not permit capturing, and says so."""
    if not (trace.path / PACKETS).exists():
        assert "no packets" in trace.about["capture"]
        return None
    return inspect(trace.packets())


def assert_handshakes(trace: Trace, connections: int) -> None:
    """Every connection of the trace opened by SYN, SYN-ACK, ACK and was closed in order."""
    report = packets_of(trace)
    if report is None:
        return
    # On a busy loopback somebody else may have had one of our ports before or after us.
    ends = {(s.local, s.remote) for s in trace.sockets.values()}
    ours = [c for c in report.connections if {(c.client, c.server), (c.server, c.client)} & ends]
    assert [c.opening.kind for c in ours] == ["normal"] * connections
    opened = [[segment.flags for segment in c.opening.segments] for c in ours]
    assert opened == [["S", "SA", "A"]] * connections
    assert {c.closing.kind for c in ours} <= {"orderly", "simultaneous"}


def calls_of(trace: Trace) -> list[Call]:
    """All calls, each of which the model explains."""
    calls = list(trace.calls())
    assert [str(call) for call in calls if not call.explained] == []
    # The kernel's buffer has the states of the whole machine: what others do can fill it.
    others = {lost.text for lost in trace.facts.losses if lost.what == "kernel states"}
    assert [problem for problem in trace.problems if problem not in others] == []
    return calls


def sockets_of(calls: list[Call], kind: str) -> dict[str, list[Call]]:
    """identity -> its calls, for the sockets of a kind, in order of their first call."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.socket is not None and call.socket.kind == kind:
            found.setdefault(call.socket.identity, []).append(call)
    return found


def states_of(calls: list[Call]) -> list[str]:
    """The states that one socket went through, each change once."""
    path = [calls[0].before]
    for call in calls:
        for state in (call.before, call.after):
            if state != path[-1]:
                path.append(state)
    return path


def made_by(calls: list[Call], how: str) -> list[Socket]:
    """The sockets that were made in this way, in order."""
    found = {c.socket.identity: c.socket for c in calls if c.socket and c.socket.made_by == how}
    return list(found.values())
