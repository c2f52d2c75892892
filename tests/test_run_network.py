"""`sockfsm run` in a network of its own, and with the kernel's states."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from patience import PATIENCE
from test_kernel_states import lacking

from sockfsm.trace.trace import Trace
from sockfsm.views.ladder import Ladder
from sockfsm.views.timeline import Timeline

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
    command = [*under, sys.executable, "-m", "sockfsm", "run", "-o", str(tmp_path / "trace")]
    command += [*options, str(program)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
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


def test_without_permission_it_runs_in_a_network_of_its_own(tmp_path: Path) -> None:
    trace, done = run(tmp_path, under=without_capturing())
    (line,) = done.stderr.splitlines()
    for word in ("CAP_NET_RAW", "only its own loopback", "--no-capture", "sudo", "setcap"):
        assert word in line
    assert done.stdout.split()[0] != os.readlink("/proc/self/ns/net")
    assert [p.flags for p in trace.packets()][:3] == ["S", "SA", "A"]
    assert "only its own loopback" in trace.about["network"]
    shown = "\n".join(Timeline(trace).lines())
    assert "network   in a network namespace of its own" in shown


def test_calls_only_leave_it_in_the_network_of_the_host(tmp_path: Path) -> None:
    trace, done = run(tmp_path, "--no-capture", under=without_capturing())
    assert done.stdout.split()[0] == os.readlink("/proc/self/ns/net")
    assert done.stderr == ""
    assert "network" not in trace.about


def test_a_program_that_fails_there_is_told_why_that_may_be(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import socket; socket.create_connection(('192.0.2.1', 80))")
    command = [
        *without_capturing(),
        sys.executable,
        "-m",
        "sockfsm",
        "run",
        "-o",
        "trace",
        str(program),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
    assert done.returncode == 1
    assert "Network is unreachable" in done.stderr
    assert "for the host's: --no-capture" in done.stderr.splitlines()[-1]


def test_without_namespaces_it_goes_on_and_says_how_to_permit(tmp_path: Path) -> None:
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && ip link set lo up && exec "$@"'
    under = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c", limit, "sh")
    trace, done = run(tmp_path, under=(*under, *without_capturing()))
    (line,) = done.stderr.splitlines()
    for way in ("root", "setcap cap_net_raw", "--no-capture"):
        assert way in line
    assert [c.method for c in trace.calls()].count("accept") == 1
    assert list(trace.packets()) == []
    assert "no permission" in json.loads((trace.path / "trace.json").read_text())["capture"]


def test_own_network_needs_no_permission(tmp_path: Path) -> None:
    trace, _ = run(tmp_path, "--own-network", under=without_capturing())
    assert [p.flags for p in trace.packets()][:3] == ["S", "SA", "A"]
    assert all(p.socket is not None for p in trace.packets())


@pytest.mark.parametrize("options", [(), ("--kernel-states",)])
def test_kernel_states(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Recorded where that is permitted; else, when asked for, one line that says why not."""
    trace, done = run(tmp_path, *options)
    if missing := lacking():
        assert "kernel_states" not in trace.about, missing
        assert ("no kernel states" in done.stderr) == bool(options)
        return
    assert re.fullmatch(r"\d+ changes of state, \d+ lost", trace.about["kernel_states"])
    shown = subprocess.run(
        [sys.executable, "-m", "sockfsm", "handshake", trace.path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "  kernel   client CLOSED > SYN-SENT > ESTABLISHED" in shown
    assert "DIFFERS" not in shown
    rows = "\n".join(Ladder(trace).lines(kernel=trace.kernel_states()))
    assert re.search(r"#2 . kernel: SYN-SENT > ESTABLISHED", rows)
    assert re.search(r"kernel: SYN-RECEIVED > ESTABLISHED +#3", rows)


def test_kernel_states_can_be_left_out(tmp_path: Path) -> None:
    trace, _ = run(tmp_path, "--no-kernel-states")
    assert "kernel_states" not in trace.about
    assert trace.kernel_states() == []


SETUID = """
import os, subprocess, sys
import nobody
from sockfsm.wire import namespace
nobody.become("sockfsm.wire")
def told():
    return subprocess.run([sys.argv[1], "-u"], capture_output=True, text=True).stdout.strip()
print(told())
print(namespace.enter())
print(told(), os.getuid())
"""


def test_rights_by_a_file_do_not_reach_into_a_user_namespace(tmp_path: Path) -> None:
    """What README and the printed line say, measured by the kernel."""
    if lacking():
        pytest.skip("needs root, to make a program that gives its rights")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy(shutil.which("id") or "", folder)
        os.chmod(program, 0o4755)
        done = subprocess.run(
            [sys.executable, "-c", SETUID, program],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
    outside, said, inside = done.stdout.splitlines()
    assert outside == "0"
    assert inside == "65534 65534"
    assert "sudo, ping" in said


def test_who_may_make_a_network_needs_no_user_namespace(tmp_path: Path) -> None:
    """Then users, rights and groups are the host's: only the network is another."""
    if lacking():
        pytest.skip("needs root")
    program = tmp_path / "program.py"
    program.write_text("import os; print(os.readlink('/proc/self/ns/user'))")
    command = [
        sys.executable,
        "-m",
        "sockfsm",
        "run",
        "--own-network",
        "-o",
        str(tmp_path / "trace"),
    ]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == os.readlink("/proc/self/ns/user")
    assert "sudo" not in done.stderr
