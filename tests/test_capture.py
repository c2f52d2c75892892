"""Capturing: proved ready, complete, each packet once, harmless when it ends badly."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import flood
import pytest
import wire_cases
from patience import PATIENCE

from sockfsm.wire import namespace, ring
from sockfsm.wire.capture import Capture, CaptureError
from sockfsm.wire.headers import packets
from sockfsm.wire.pcapng import CaptureFile

Start = Callable[..., Capture]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "packets.pcapng"


@pytest.fixture(params=[False, True], ids=["interpreter", "fork"])
def start(request: pytest.FixtureRequest) -> Start:
    """`Capture.start`, both ways to make the capturing process."""
    return partial(Capture.start, fork=request.param)


def helper_of(path: Path) -> int:
    """The process id of the capturing process: the one that writes the file."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = f"/proc/{entry}/fd"
            if str(path) in (os.readlink(f"{folder}/{number}") for number in os.listdir(folder)):
                return int(entry)
    raise AssertionError("no capturing process")


def ended(pid: int) -> bool:
    """Wait for the end of a process that is no child of ours."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read().rsplit(b") ", 1)[1][:1] == b"Z":
                    return True
        except OSError:
            return True
        time.sleep(0.005)
    return False


def test_the_very_first_packets_are_there(path: Path, start: Start) -> None:
    for _ in range(10):
        with start(path) as capture:
            ends = wire_cases.refused()
            summary = capture.stop()
        found = [p for p in packets(path) if {p.source, p.target} == set(ends)]
        assert [p.flags for p in found] == ["S", "RA"]
        assert (summary.dropped, summary.problem) == (0, "")


def test_the_probe_is_found_behind_other_traffic() -> None:
    """On a busy loopback the first block is full before our probe comes."""
    sockets = ring.opened("lo")
    lines = ring.Ring(sockets[0], ring.furnish(sockets, 128))
    lines.start()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        target.bind(("127.0.0.1", 0))
        source.connect(target.getsockname())
        for _ in range(3 * ring.BLOCK_SIZE // 200):
            source.send(b"other traffic" * 5)
        source.send(b"the probe at last")
        deadline = time.monotonic() + PATIENCE
        while not lines.holds(b"the probe at last"):
            assert time.monotonic() < deadline
    for each in sockets:
        each.close()
    assert not lines.holds(b"another probe")


def test_nothing_missing_nothing_twice(path: Path) -> None:
    """50,000 numbered datagrams: each is there once, with its length.

    Not always in order: the kernel hands packets on from each processor by itself.
    """
    number = 50_000
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        target.bind(("127.0.0.1", 0))
        source.connect(target.getsockname())
        mine = source.getsockname()
        with Capture.start(path, snap=128) as capture:
            for count in range(number):
                source.send(count.to_bytes(4, "big") * 8)
            summary = capture.stop()
    assert summary.dropped == 0
    found = [p for p in packets(path) if p.source == mine]
    seen = sorted(int.from_bytes(p.raw[42:46], "big") for p in found)
    assert len(seen) == number
    assert seen == list(range(number))
    assert {p.length for p in found} == {32}
    assert summary.packets >= number


def test_stamps_lie_within_the_send(path: Path) -> None:
    client, data, _ = wire_cases.pair()
    spans = []
    with client, data, Capture.start(path) as capture:
        for _ in range(200):
            begin = time.monotonic_ns()
            client.send(b"x")
            spans.append((begin, time.monotonic_ns()))
            data.recv(1)
        mine = client.getsockname()
        summary = capture.stop()
    found = [p for p in packets(path) if p.source == mine and p.length]
    assert len(found) == len(spans)
    slack = summary.clock_error
    assert slack < 1_000_000
    for packet, (begin, end) in zip(found, spans, strict=True):
        assert begin - slack <= packet.time <= end + slack


def test_headers_only_but_full_lengths(path: Path) -> None:
    client, data, (mine, _) = wire_cases.pair()
    with client, data, Capture.start(path):
        client.sendall(b"secret" * 5000)
        read = 0
        while read < 30000:
            read += len(data.recv(65536))
    assert b"secret" not in path.read_bytes()
    assert sum(p.length for p in packets(path) if p.source == mine) == 30000


def test_all_bytes_when_asked_for(path: Path) -> None:
    client, data, _ = wire_cases.pair()
    with client, data, Capture.start(path, snap=65535):
        client.sendall(b"secret" * 500)
        data.recv(65536)
    assert b"secret" * 500 in path.read_bytes()


def test_the_file_is_what_wireshark_expects(path: Path) -> None:
    with Capture.start(path):
        wire_cases.normal()
    told = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
    assert "pcapng" in told
    assert "Name = lo" in told
    assert "Time precision = nanoseconds (9)" in told
    assert "clock: wall = monotonic" in told
    assert re.search(r"Number of packets += *\d+", told)
    assert "Number of stat entries = 1" in told


def test_killed_capture_leaves_a_readable_file(path: Path, start: Start) -> None:
    capture = start(path)
    client, _ = wire_cases.normal()
    deadline = time.monotonic() + PATIENCE
    while not any(p.source == client for p in packets(path)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    pid = helper_of(path)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    summary = capture.stop()
    assert "killed" in summary.problem
    source = CaptureFile(path)
    assert list(source)
    assert source.problems == []
    assert not source.complete


def test_a_full_disk_ends_the_capture_and_is_told(path: Path) -> None:
    code = f"""
import resource, socket
from pathlib import Path
from sockfsm.wire.capture import Capture
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
capture = Capture.start(Path({str(path)!r}))
target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); target.bind(("127.0.0.1", 0))
source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); source.connect(target.getsockname())
for _ in range(20_000):
    source.send(b"x" * 32)
print(capture.stop().problem)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "File too large" in run.stdout
    source = CaptureFile(path)
    assert 0 <= len(list(source)) < 2000
    assert source.problems == []


@pytest.mark.parametrize("fork", [False, True])
def test_ends_with_its_starter(path: Path, fork: bool) -> None:
    code = f"""
import os, signal
from pathlib import Path
from sockfsm.wire.capture import Capture
capture = Capture.start(Path({str(path)!r}), fork={fork})
if os.fork() == 0:  # a child that holds the pipes open
    signal.pause()
print(flush=True)
signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        pid = helper_of(path)
        starter.kill()
        assert ended(pid)
        os.killpg(starter.pid, signal.SIGKILL)
    source = CaptureFile(path)
    list(source)
    assert source.complete


def test_interrupt_of_the_terminal_does_not_end_it(path: Path, start: Start) -> None:
    with start(path) as capture:
        pid = helper_of(path)
        assert os.getpgid(pid) != os.getpgid(0)
        os.kill(pid, signal.SIGINT)
        client, _ = wire_cases.normal()
        assert capture.stop().problem == ""
    assert any(p.source == client for p in packets(path))


def test_nothing_of_the_program_is_held_open(path: Path, start: Start) -> None:
    """An inheritable pipe of the program: its reader sees the end although we still capture."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    with start(path):
        os.close(write)
        assert os.read(read, 1) == b""
    os.close(read)


def children() -> set[str]:
    """The processes that this one could wait for: other tests may have left some."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def test_no_child_and_no_low_descriptor_is_left_behind(path: Path, start: Start) -> None:
    before = children()
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    with start(path):
        assert children() == before
        again = os.open(os.devnull, os.O_RDONLY)
        os.close(again)
        assert again == lowest


def test_without_permission_one_line_tells_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("sockfsm.wire.ring._socket.socket", refuse)
    with pytest.raises(CaptureError, match=r"no permission.*setcap.*--no-capture") as raised:
        Capture.start(path)
    assert "\n" not in str(raised.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interface": "nosuch0"}, "No such device"),
        ({"snap": 3}, "snap length 3"),
    ],
)
def test_what_cannot_be_captured(path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        Capture.start(path, **options)  # type: ignore[arg-type]


def test_a_folder_that_does_not_exist(tmp_path: Path, start: Start) -> None:
    with pytest.raises(CaptureError, match="No such file or directory"):
        start(tmp_path / "no" / "packets.pcapng")


def test_a_second_stop_tells_the_same(path: Path) -> None:
    capture = Capture.start(path)
    assert capture.stop() is capture.stop()


@pytest.mark.skipif(
    Path("/proc/self/uid_map").read_text().split()[2] == "1",
    reason="in a user namespace, where there is no `nobody` to become",
)
def test_without_root_in_a_namespace() -> None:
    """As `nobody`, who keeps user and group and gets a loopback of his own."""
    code = """
import os, socket, time
import nobody
from patience import PATIENCE
from sockfsm.wire import namespace, ring
nobody.become("sockfsm.wire")
user = os.getuid()
try:
    ring.opened("lo")
except ring.RefusedError as error:
    assert error.cause == "permission"
else:
    raise SystemExit("the test needs a user without capabilities")
namespace.enter()
assert os.getuid() == user
held = ring.opened("lo")
lines = ring.Ring(held[0], ring.furnish(held, 128))
lines.start()
target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); target.bind(("127.0.0.1", 0))
target.sendto(b"my own loopback", target.getsockname())
deadline = time.monotonic() + PATIENCE
while not lines.holds(b"my own loopback"):
    assert time.monotonic() < deadline
print("captured")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert run.stdout == "captured\n", run.stderr


def test_namespace_is_tried_without_harm() -> None:
    before = os.readlink("/proc/self/ns/net")
    assert namespace.possible() in (True, False)
    assert os.readlink("/proc/self/ns/net") == before


def test_complete_against_tcpdump(path: Path, tmp_path: Path) -> None:
    """The same packets as tcpdump sees, which starts before us and ends after us."""
    other = tmp_path / "tcpdump.pcap"
    command = [*flood.TCPDUMP, "-i", "lo", "-w", str(other), "-U", "-B", "16384", "-s", "128"]
    command.append("--time-stamp-precision=nano")
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(tcpdump.kill)  # else a failure below would wait for it for ever
        assert tcpdump.stderr is not None
        assert any("listening on" in line for line in tcpdump.stderr)
        with Capture.start(path) as capture:
            ends = [wire_cases.normal() for _ in range(50)] + [wire_cases.half_close()]
            ends.append(wire_cases.unread_reset())
            capture.stop()
        mine = {pair for client, server in ends for pair in ((client, server), (server, client))}
        last = ends[-1][0]
        deadline = time.monotonic() + PATIENCE
        while not any("R" in p.flags and last in (p.source, p.target) for p in packets(other)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        tcpdump.send_signal(signal.SIGINT)
        assert "0 packets dropped by kernel" in tcpdump.communicate()[1]

    def seen(file: Path) -> list[tuple[object, ...]]:
        return [
            (p.source, p.target, p.flags, p.seq, p.ack, p.length)
            for p in packets(file)
            if (p.source, p.target) in mine
        ]

    ours, theirs = seen(path), seen(other)
    assert len(ours) > 51 * 9
    assert len(ours) == len(theirs)
    assert sorted(ours) == sorted(theirs)


FLOOD = """
import signal, subprocess, sys, time
from pathlib import Path
import flood
from patience import PATIENCE
from sockfsm.wire.capture import Capture
flood.own_network()
ours, theirs = map(Path, sys.argv[1:])
command = [*flood.TCPDUMP, "-i", "lo", "-w", theirs, "-U", "-B", "65536", "-s", "128", "-Q", "in"]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
    try:
        assert any("listening on" in line for line in tcpdump.stderr)
        with Capture.start(ours) as capture:
            sent, _ = flood.flood(0.5, 60_000)
            assert capture.stop().dropped == 0
        deadline = time.monotonic() + PATIENCE
        while len(flood.numbers(theirs)) < sent and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        tcpdump.send_signal(signal.SIGINT)
    told = tcpdump.communicate()[1]
assert "0 packets dropped by kernel" in told, told
assert sorted(flood.numbers(ours)) == sorted(flood.numbers(theirs)) == list(range(sent))
print(sent)
"""


def test_a_flood_against_tcpdump(path: Path, tmp_path: Path) -> None:
    """Tens of thousands of numbered packets in a network of their own; the benchmark has more."""
    run = subprocess.run(
        [sys.executable, "-c", FLOOD, path, tmp_path / "tcpdump.pcap"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        timeout=PATIENCE,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 5_000
