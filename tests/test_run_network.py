"""`sockfsm run` in a network of its own, and with the kernel's states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sockfsm.trace.trace import Trace

PROGRAM = """import os, socket
listening = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listening.getsockname())
data, _ = listening.accept()
client.close()
data.recv(1)
data.close()
print(os.readlink("/proc/self/ns/net"), os.getuid())
"""


def run(
    tmp_path: Path, *options: str, under: tuple[str, ...] = ()
) -> tuple[Trace, subprocess.CompletedProcess[str]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [*under, sys.executable, "-m", "sockfsm", "run", "-o", tmp_path / "trace"]
    command += [*options, program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return Trace.open(tmp_path / "trace"), done


def test_own_network(tmp_path: Path) -> None:
    trace, done = run(tmp_path, "--own-network")
    network, user = done.stdout.split()
    assert network != os.readlink("/proc/self/ns/net")
    assert int(user) == os.getuid()
    assert "only its own loopback" in done.stderr
    assert [p.flags for p in trace.packets()][:3] == ["S", "SA", "A"]


def without_capturing() -> tuple[str, ...]:
    """What takes the capability to capture from a command, where this process has it."""
    status = Path("/proc/self/status").read_text()
    (effective,) = (int(line.split()[1], 16) for line in status.splitlines() if "CapEff" in line)
    sets = ("--ambient-caps", "--inh-caps", "--bounding-set")
    return ("setpriv", *(f"{name}=-net_raw" for name in sets)) if effective >> 13 & 1 else ()


def test_without_permission_it_goes_on_and_says_how_to_permit(tmp_path: Path) -> None:
    trace, done = run(tmp_path, under=without_capturing())
    (line,) = done.stderr.splitlines()
    for way in ("root", "setcap cap_net_raw", "--own-network", "--no-capture"):
        assert way in line
    assert [c.method for c in trace.calls()].count("accept") == 1
    assert list(trace.packets()) == []
    assert "no permission" in json.loads((trace.path / "trace.json").read_text())["capture"]


def test_own_network_needs_no_permission(tmp_path: Path) -> None:
    trace, _ = run(tmp_path, "--own-network", under=without_capturing())
    assert [p.flags for p in trace.packets()][:3] == ["S", "SA", "A"]
    assert all(p.socket is not None for p in trace.packets())


def test_kernel_states(tmp_path: Path) -> None:
    """Recorded, or one line that says why not."""
    trace, done = run(tmp_path, "--kernel-states")
    about = json.loads((trace.path / "trace.json").read_text())
    if "no kernel states" in done.stderr:
        assert "kernel_states" not in about
        return
    assert about["kernel_states"].endswith("0 lost")
    shown = subprocess.run(
        [sys.executable, "-m", "sockfsm", "handshake", trace.path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "  kernel   client CLOSED > SYN-SENT > ESTABLISHED" in shown
    assert "DIFFERS" not in shown
