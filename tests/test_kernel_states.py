"""The kernel's own TCP states beside those that the packets imply."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wire_cases
from patience import PATIENCE

from sockfsm.cli.main import main
from sockfsm.events import Packet
from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.tcp_path import paths
from sockfsm.wire import kernel_states
from sockfsm.wire.capture import Capture
from sockfsm.wire.handshake import inspect, inspect_file
from sockfsm.wire.kernel_record import read
from sockfsm.wire.kernel_states import (
    FILE,
    KernelState,
    KernelStates,
    lives,
    parse,
    with_ports,
)

LINE = (
    "          python-20672   [000] ..s2.  4699.673834: inet_sock_set_state: "
    "skaddr=0xffff8881254e65c0 (-131386718657088) oldstate=0x1 (1) newstate=0x8 (8) "
    "sport=0x9c4d (40013) dport=0xd1b4 (53684) family=0x2 (2) protocol=0x6 (6) "
    "saddr=0x100007f (16777343) daddr=0x100007f (16777343) saddr_v6=<INVALID-SIZE>\n"
)


def test_a_line_of_the_kernel() -> None:
    lacking_one = LINE.replace("newstate=", "nostate=")
    (state,) = parse(["# tracer: nop\n", "nonsense inet_sock_set_state: x=1\n", lacking_one, LINE])
    assert state == KernelState(
        4_699_673_834_000,
        1,
        20672,
        "ESTABLISHED",
        "CLOSE-WAIT",
        ("127.0.0.1", 40013),
        ("127.0.0.1", 53684),
    )


def lacking() -> str:
    """What this environment lacks to record, told without asking the code under test; '' if nothing."""
    status = Path("/proc/self/status").read_text()
    (effective,) = (int(line.split()[1], 16) for line in status.splitlines() if "CapEff" in line)
    if os.geteuid() != 0 or not effective >> 21 & 1:
        return "needs root with CAP_SYS_ADMIN"
    if "tracefs" not in Path("/proc/filesystems").read_text():
        return "needs a kernel with tracefs"
    return ""


def test_not_permitted() -> None:
    """As a user without capabilities, everywhere: one line that says what to do."""
    code = """
import nobody
from sockfsm.wire.kernel_states import KernelStates, KernelStatesError
nobody.become("sockfsm.wire")
try:
    KernelStates.start()
except KernelStatesError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.count("\n") == 1
    assert "no tracefs" in done.stdout
    if "tracefs" in Path("/proc/filesystems").read_text():
        assert "run as root, or leave out --kernel-states" in done.stdout


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, list[tuple[tuple[str, int], tuple[str, int]]]]:
    """Connections of several sorts with packets and the kernel's states; root can have them."""
    if missing := lacking():
        pytest.skip(missing)
    states = KernelStates.start()
    with Capture.start(tmp_path / "packets.pcapng"):
        ends = [
            case()
            for case in (
                wire_cases.normal,
                wire_cases.server_closes_first,
                wire_cases.half_close,
                wire_cases.linger_reset,
                wire_cases.unread_reset,
                wire_cases.data_after_close,
                wire_cases.never_accepted,
                wire_cases.self_connect,
                lambda: wire_cases.normal("::1", socket.AF_INET6),
            )
        ]
    told = states.stop(tmp_path / FILE)
    assert told.changes > 40
    assert told.lost == told.old == 0
    return tmp_path, ends


def test_segments_and_kernel_agree(
    recorded: tuple[Path, list[tuple[tuple[str, int], tuple[str, int]]]],
) -> None:
    folder, ends = recorded
    states = read(folder / FILE, [])
    kernel = KernelPaths(states)
    connections = inspect_file(folder / "packets.pcapng").connections
    for end in ends:
        (connection,) = [c for c in connections if (c.client, c.server) == end]
        found = kernel.of(connection)
        assert all(found)
        assert difference(connection, found) == "", (connection.closing.kind, found)
        wrong = (("CLOSED", "LISTEN"), ())
        assert paths(connection)[0][1] in difference(connection, wrong)


def test_it_is_shown(
    recorded: tuple[Path, list[tuple[tuple[str, int], tuple[str, int]]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, ends = recorded
    port = str(ends[0][0][1])  # other programs' connections may have begun before the record
    assert main(["handshake", str(folder / "packets.pcapng"), "--port", port]) == 0
    told = capsys.readouterr().out
    assert "  kernel   client CLOSED > SYN-SENT > ESTABLISHED > FIN-WAIT-1" in told
    assert "DIFFERS" not in told
    assert max(map(len, told.splitlines())) <= 200


def state(time: int, sock: int, before: str, after: str, port: int, far: int = 9) -> KernelState:
    return KernelState(time, sock, 1, before, after, ("127.0.0.1", port), ("127.0.0.1", far))


def test_a_sockets_memory_is_used_again() -> None:
    changes = [
        state(1, 7, "CLOSED", "SYN-SENT", 0),
        state(2, 8, "CLOSED", "LISTEN", 50),
        state(3, 7, "SYN-SENT", "CLOSED", 40),
        state(4, 7, "CLOSED", "SYN-SENT", 41),
    ]
    assert [[s.time for s in life] for life in lives(changes)] == [[1, 3], [4], [2]]


def test_only_the_sockets_that_are_wanted_are_written(tmp_path: Path) -> None:
    """The kernel tells of all sockets of the machine."""
    if missing := lacking():
        pytest.skip(missing)
    states = KernelStates.start()
    wanted, _ = wire_cases.normal()
    wire_cases.normal()
    changes, *_ = states.stop(
        tmp_path / FILE, lambda life: any(wanted in (s.source, s.target) for s in life)
    )
    written = read(tmp_path / FILE, [])
    assert changes == len(written) > 6
    assert [s.time for s in written] == sorted(s.time for s in written)
    ports = {s.source[1] for s in written} | {s.target[1] for s in written}
    assert len(ports - {0}) == 2
    # A socket has no port yet when connect begins.
    assert ("CLOSED", "SYN-SENT") in {(s.before, s.after) for s in written}


def test_what_the_segments_do_not_tell_is_said() -> None:
    syn = Packet(5, 5, "tcp", ("127.0.0.1", 40), ("127.0.0.1", 50), "S", 1, 0, 9, 0, b"", 1)
    (connection,) = inspect([syn, syn._replace(time=6)]).connections
    gave_up = (("CLOSED", "SYN-SENT", "CLOSED"), ())
    assert difference(connection, gave_up).startswith("client: gave up without a segment")
    assert difference(connection, (("CLOSED", "SYN-SENT"), ())) == ""
    repeated = [
        state(1, 1, "CLOSED", "SYN-SENT", 40, 50),
        state(2, 1, "SYN-SENT", "SYN-SENT", 40, 50),
    ]
    assert KernelPaths(repeated).of(connection)[0] == ("CLOSED", "SYN-SENT")


def test_ports_used_again_at_once() -> None:
    """The life that begins with the connection is taken, not the one before."""
    changes = [
        state(10, 1, "CLOSED", "SYN-SENT", 40, 50),
        state(20, 1, "SYN-SENT", "CLOSED", 40, 50),
        state(30, 2, "CLOSED", "SYN-SENT", 40, 50),
        state(40, 2, "SYN-SENT", "ESTABLISHED", 40, 50),
    ]
    syn = Packet(11, 11, "tcp", ("127.0.0.1", 40), ("127.0.0.1", 50), "S", 1, 0, 9, 0, b"", 1)
    first, second = inspect([syn, syn._replace(time=31, seq=2)]).connections
    known = KernelPaths(changes)
    assert known.of(first)[0] == ("CLOSED", "SYN-SENT", "CLOSED")
    assert known.of(second)[0] == ("CLOSED", "SYN-SENT", "ESTABLISHED")


def test_damaged_record(tmp_path: Path) -> None:
    path = tmp_path / FILE
    good = b'[1, 1, 1, "CLOSED", "LISTEN", ["", 1], ["", 0]]\n'
    bad = b'[1, 2\n\xfe\xf1\n[1, 1, 1, 1, "", ["", 1], ["", 0]]\n[1, 1, 1, "", "", [], {}]\n7\n'
    path.write_bytes(b'{"lost": 3}\n' + good + bad + good)
    problems: list[str] = []
    assert len(read(path, problems)) == 2
    assert problems == [
        "3 of the kernel's changes of state were lost",
        f"{FILE}: 5 damaged lines were passed over",
    ]


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    if missing := lacking():
        pytest.skip(missing)
    code = """
import os, signal
from sockfsm.wire.kernel_states import KernelStates
states = KernelStates.start()
print(states._instance.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = done.stdout.strip()
    first = KernelStates.start()
    try:
        names = os.listdir(first._instance.instances)
        assert left.startswith("sockfsm-")
        assert left not in names
        assert first._instance.name in names
        with pytest.raises(OSError, match="busy"):
            os.rmdir(first._instance.name, dir_fd=first._instance.instances)
    finally:
        first.stop(tmp_path / FILE)


def test_ports_of_a_life_stand_in_all_its_changes() -> None:
    named = with_ports(
        [
            state(1, 1, "CLOSED", "SYN-SENT", 0, 50),
            state(2, 2, "LISTEN", "SYN-RECEIVED", 50, 40),
            state(3, 1, "SYN-SENT", "ESTABLISHED", 40, 50),
            state(4, 1, "ESTABLISHED", "ESTABLISHED", 40, 50),
        ]
    )
    assert [(s.time, s.source[1], s.target[1]) for s in named] == [
        *((1, 40, 50), (2, 50, 40), (3, 40, 50))
    ]


def test_a_second_attempt_is_not_told_with_the_port_of_the_first() -> None:
    named = with_ports(
        [
            state(1, 1, "CLOSED", "SYN-SENT", 0, 50),
            state(2, 1, "SYN-SENT", "CLOSED", 40, 50),
            state(3, 1, "CLOSED", "SYN-SENT", 40, 50),
            state(4, 1, "SYN-SENT", "ESTABLISHED", 41, 50),
            state(5, 2, "CLOSED", "SYN-SENT", 42, 50),
        ]
    )
    assert [s.source[1] for s in named] == [40, 40, 41, 41, 42]


def changes_of(port: int, count: int, begin: int = 1) -> list[KernelState]:
    return [
        change
        for n in range(count)
        for change in (
            state(begin + 2 * n, n + begin, "CLOSED", "SYN-SENT", port, 50),
            state(begin + 2 * n + 1, n + begin, "SYN-SENT", "CLOSED", port, 50),
        )
    ]


class Told:
    """Stands in for the kernel's instance."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.removed = False

    def read(self) -> bytes:
        return self.waiting.pop(0) if self.waiting else b""

    def write(self, name: str, text: str) -> None: ...

    def lost(self) -> int:
        return 7

    def remove(self) -> None:
        self.removed = True

    def tell(self, change: KernelState) -> None:
        numbers = {"SYN-SENT": 2, "CLOSED": 7}
        line = (
            f" python-{change.pid} [000] ..s2. {change.time // 10**9}.{change.time % 10**9 // 1000:06}"
            f": inet_sock_set_state: skaddr={change.sock:#x} (1) oldstate={numbers[change.before]:#x}"
            f" (1) newstate={numbers[change.after]:#x} (8) sport={change.source[1]:#x} (1) "
            f"dport={change.target[1]:#x} (1) family=0x2 (2) protocol=0x6 (6) saddr=0x100007f (1) "
            "daddr=0x100007f (1)\n"
        )
        self.waiting += [line[:50].encode(), line[50:].encode()]


def test_memory_is_bounded_and_strangers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 traced sockets and 3,000 strangers', the newest of ours stay: no more than a limit."""
    monkeypatch.setattr(kernel_states, "THIN", 200)
    monkeypatch.setattr(kernel_states, "MOST", 400)
    told = Told()
    record = KernelStates(told)  # type: ignore[arg-type]
    held = 0
    for n in range(300):
        for change in changes_of(40, 1, 1 + 1000 * n) + changes_of(41, 10, 500 + 1000 * n):
            told.tell(change._replace(time=change.time * 1000))
        record.drain(lambda: lambda life: life[0].source[1] == 40)
        held = max(held, record._held)
    recorded = record.stop(tmp_path / FILE, lambda life: life[0].source[1] == 40)
    assert held <= 800
    assert recorded.lost == 7
    assert recorded.changes <= 600
    assert recorded.changes + recorded.old >= 600
    kept = read(tmp_path / FILE, [])
    assert kept[-1].time == (1 + 1000 * 299 + 1) * 1000
    assert {s.source[1] for s in kept} == {40}
    assert "the oldest" in str(recorded)
    assert told.removed


@pytest.fixture
def own() -> Iterator[tuple[KernelStates, Callable[[], tuple[str, int]]]]:
    """A record of one listener's connections alone, and what makes one: the client's name."""
    if missing := lacking():
        pytest.skip(missing)
    record = KernelStates.start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # The machine's other connections would fill the kernel's small buffer.
        record._instance.write(
            f"{kernel_states.EVENT}/filter", f"protocol==6 && (sport=={port} || dport=={port})"
        )

        def connect() -> tuple[str, int]:
            with socket.create_connection(listening.getsockname()) as client:
                listening.accept()[0].close()
                client.recv(1)
                name: tuple[str, int] = client.getsockname()
                return name

        yield record, connect


def test_none_is_lost_when_more_comes_than_the_kernel_has_room_for(
    tmp_path: Path, own: tuple[KernelStates, Callable[[], tuple[str, int]]]
) -> None:
    """The kernel's buffer is read while it fills: here it has room for some hundred changes."""
    record, connect = own
    record._instance.write("buffer_size_kb", "16")
    ends = set()
    for _ in range(60):
        ends |= {connect() for _ in range(5)}
        record.drain()
    told = record.stop(tmp_path / FILE)
    assert (told.lost, told.old) == (0, 0)
    assert ends <= {s.source for s in read(tmp_path / FILE, [])}


def test_what_was_lost_is_counted_once(
    tmp_path: Path, own: tuple[KernelStates, Callable[[], tuple[str, int]]]
) -> None:
    record, connect = own
    record._instance.write("buffer_size_kb", "4")
    for _ in range(100):
        connect()
    lost = record._instance.lost()
    assert lost > 100
    record.drain()
    assert record.stop(tmp_path / FILE).lost == lost


LEFT = """
import os, signal, sys
from sockfsm.wire.kernel_states import KernelStates
states = KernelStates.start()
print(states._instance.name, flush=True)
os.killpg(0, signal.SIGKILL)
"""


def test_the_instance_goes_with_its_group_killed(tmp_path: Path) -> None:
    """Without a next start: a process in a session of its own removes it."""
    if missing := lacking():
        pytest.skip(missing)
    first = KernelStates.start()  # holds the folder of instances open for us
    try:
        done = subprocess.run(
            [sys.executable, "-c", LEFT], capture_output=True, text=True, start_new_session=True
        )
        left = done.stdout.strip()
        assert left.startswith("sockfsm-")
        folder = first._instance.instances
        # Without the mend this waits until the limit, and fails.
        for _ in range(50 * PATIENCE):
            if left not in os.listdir(folder):
                break
            time.sleep(0.02)
        assert left not in os.listdir(folder)
        assert first._instance.name in os.listdir(folder)
    finally:
        first.stop(tmp_path / FILE)


def test_an_instance_whose_number_another_process_has_is_swept(tmp_path: Path) -> None:
    """The start's time tells them apart; an older version's name has none."""
    if missing := lacking():
        pytest.skip(missing)
    first = KernelStates.start()
    folder = first._instance.instances
    mine = first._instance.name.split("-")
    reused = f"sockfsm-{os.getpid()}-{int(mine[2]) - 1}-abcdef"
    foreign = "sockfsm-of-somebody-else"
    for name in (reused, foreign):
        os.mkdir(name, dir_fd=folder)
    try:
        second = KernelStates.start()
        names = os.listdir(folder)
        second.stop(tmp_path / FILE)
        assert reused not in names
        assert {foreign, first._instance.name, second._instance.name} <= set(names)
    finally:
        os.rmdir(foreign, dir_fd=folder)
        first.stop(tmp_path / FILE)
