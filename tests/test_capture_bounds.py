"""A capture that runs long: thinned meanwhile, it stays small, and counts what it could not write."""

from __future__ import annotations

import os
import posix
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wire_cases
from patience import PATIENCE
from test_kernel_states import lacking

import sockfsm
from sockfsm.trace.trace import PACKETS
from sockfsm.wire import blocks, capturer, output, thin, thinner
from sockfsm.wire.capture import Capture
from sockfsm.wire.headers import packets
from sockfsm.wire.pcapng import CaptureFile, Frame


class Stranger:
    """Numbered datagrams from a socket that nobody traces."""

    def __init__(self) -> None:
        self.target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.target.bind(("127.0.0.1", 0))
        self.source.connect(self.target.getsockname())
        self.name = self.source.getsockname()
        self.sent = 0

    def send(self, number: int) -> None:
        for _ in range(number):
            self.source.send(self.sent.to_bytes(4, "big") * 8)
            self.sent += 1

    def seen(self, path: Path) -> list[int]:
        """The numbers of those in a capture with payload."""
        return [int.from_bytes(p.raw[42:46], "big") for p in packets(path) if p.source == self.name]


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.target.close()
    made.source.close()


def test_a_size_is_kept_and_the_newest_packets(tmp_path: Path, stranger: Stranger) -> None:
    """1 MB for some 10 MB of packets: never more on disk, and the last of them at the end."""
    path = tmp_path / "packets.pcapng"
    limit = 1 << 20
    most = 0
    with Capture.start(path, snap=128, limit=limit, fork=True) as capture:
        for _ in range(100):
            stranger.send(1000)
            most = max(most, sum(each.stat().st_size for each in sized(tmp_path)))
        summary = capture.stop()
    assert most <= limit
    assert path.stat().st_size <= limit
    seen = stranger.seen(path)
    assert seen
    assert len(set(seen)) == len(seen)
    assert summary.packets >= len(seen)
    # Everything is accounted for: written, left out as old, or counted as lost.
    total = summary.packets + summary.old + summary.unwritten + summary.dropped
    assert total >= stranger.sent
    assert summary.old > 0
    assert "oldest" in str(summary)
    source = CaptureFile(path)
    assert list(source)
    assert (source.problems, source.complete) == ([], True)
    assert source.dropped == summary.unwritten + summary.dropped
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def sized(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.exists()]


def test_strangers_packets_go_while_it_runs(tmp_path: Path, stranger: Stranger) -> None:
    """In the file of a trace that still runs there are ours, and only the newest of others."""
    code = f"""
import sys
from sockfsm.trace import keeping
from sockfsm.wire import thinner
thinner.START = 1 << 18
keeping.GRACE = 0
import socket
import sockfsm
def talk():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        data, _ = server.accept()
        client.sendall(b"ours!"); data.recv(5)
        print(client.getsockname()[1], flush=True)
        client.close(); data.close()
from sockfsm.wire.capture import Capture
start = Capture.start
Capture.start = lambda *args, **options: start(*args, **{{**options, "fork": True}})
with sockfsm.tracing({str(tmp_path / "trace")!r}, capture=True):
    talk()
    sys.stdin.readline()
    talk()
"""
    path = tmp_path / "trace" / PACKETS
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = int(process.stdout.readline())
        largest = wait_for_thinning(path, stranger)
        assert path.stat().st_size < largest
        assert any(first in (p.source[1], p.target[1]) for p in packets(path))
        process.stdin.write("\n")
        process.stdin.close()
        second = int(process.stdout.readline())
        assert process.wait(PATIENCE) == 0
    trace = sockfsm.Trace.open(tmp_path / "trace")
    clients = {p.source[1] for p in trace.packets() if p.length == 5}
    assert clients == {first, second}
    assert all(p.socket is not None for p in trace.packets())
    assert stranger.name not in {p.source for p in trace.packets()}


def wait_for_thinning(path: Path, stranger: Stranger) -> int:
    """Send until the file has shrunk: its largest size. The test's own limit ends it otherwise."""
    inode, largest = path.stat().st_ino, 0
    while path.stat().st_ino == inode:
        stranger.send(500)
        time.sleep(0.03)  # in a rush packets are only taken, and written after it
        largest = max(largest, path.stat().st_size)
        assert stranger.sent < 2_000_000
    return largest


def filled(folder: Path, size: str) -> tuple[str, ...]:
    """A command that runs another where `folder` is a disk of so many bytes."""
    if missing := lacking():
        pytest.skip(missing)
    script = f'mount -t tmpfs -o size={size},mode=700 none {folder} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


FULL = """
import os, socket, sys, time
from pathlib import Path
from sockfsm.wire.capture import Capture
from sockfsm.wire.headers import packets
from sockfsm.wire.pcapng import CaptureFile
path = Path(sys.argv[1]) / "packets.pcapng"
filler = Path(sys.argv[1]) / "filler"
target = socket.socket(type=socket.SOCK_DGRAM); target.bind(("127.0.0.1", 0))
source = socket.socket(type=socket.SOCK_DGRAM); source.connect(target.getsockname())
def send(number):
    for _ in range(number):
        source.send(b"x" * 32)
def room():
    state = os.statvfs(sys.argv[1])
    return state.f_bavail * state.f_frsize
capture = Capture.start(path, fork=True)
send(100)
while sum(p.source == source.getsockname() for p in packets(path)) < 100:
    time.sleep(0.01)
filler.write_bytes(bytes(room()))
assert room() == 0
sys.path.insert(0, sys.argv[3])
from test_capture import helper_of
attempts = Path(f"/proc/{helper_of(path)}/io")
def tried():
    return int(attempts.read_text().split("syscw:")[1].split()[0])
for _ in range(3):  # a write may take what room a page has: the next one takes nothing
    before = tried()
    send(500)
    while tried() == before:
        time.sleep(0.01)
if sys.argv[2] == "brief":
    filler.unlink()
    send(200)
summary = capture.stop()
mine = sum(p.source == source.getsockname() for p in packets(path))
file = CaptureFile(path)
list(file)
print(mine, summary.packets, summary.unwritten, summary.dropped, file.problems, file.dropped,
      file.complete, sep="|")
print(summary)
"""


@pytest.mark.parametrize("way", ["for good", "brief"])
def test_a_full_disk_is_counted_exactly(tmp_path: Path, way: str) -> None:
    done = subprocess.run(
        [*filled(tmp_path, "1m"), sys.executable, "-c", FULL, tmp_path, way, Path(__file__).parent],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    told, summary = done.stdout.splitlines()
    mine, written, unwritten, dropped, problems, lost, complete = told.split("|")
    assert problems == "[]"
    assert dropped == "0"
    assert int(unwritten) >= 500
    if way == "brief":
        assert int(mine) >= 300
        assert complete == "True"
        assert int(lost) == int(unwritten)
    assert int(written) >= int(mine)
    assert f"{unwritten} LOST" in summary
    assert "none lost" not in summary
    assert f"{unwritten} not written, from " in summary
    assert "No space left on device" in summary


def test_a_full_disk_beside_a_run_is_told_to_the_person(tmp_path: Path) -> None:
    """How many packets were not written is said when the others have been left out, too."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, socket, sys\n"
        "folder = os.environ['SOCKFSM_TRACE']\n"
        "a = socket.socket(type=socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))\n"
        "b = socket.socket(type=socket.SOCK_DGRAM); b.connect(a.getsockname())\n"
        "state = os.statvfs(folder)\n"
        "open(folder + '/filler', 'wb').write(bytes(state.f_bavail * state.f_frsize))\n"
        "for _ in range(2000): b.send(b'x')\n"
        "sys.exit(3)\n"
    )
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder / "trace"), str(program)]
    done = subprocess.run(
        [*filled(folder, "4m"), *command], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 3, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "packets: " in line)
    assert "not written, from" in line
    assert "No space left on device" in line


def test_what_is_recorded_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Also where everybody might read by default, and where somebody planted links."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    program = tmp_path / "program.py"
    program.write_text("import socket\nsocket.create_server(('127.0.0.1', 0)).close()\n")
    folder = tmp_path / "trace"
    command = ["sh", "-c", 'umask 0; exec "$@"', "sh", sys.executable, "-m", "sockfsm", "run"]
    subprocess.run(
        [*command, "--payload", "-o", folder, program],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ours = [each for each in folder.iterdir() if each.suffix != ".calls"]
    assert {each.name for each in ours} >= {"packets.pcapng", "trace.json"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in ours} == {0o600}
    other = tmp_path / "planted"
    other.mkdir(mode=0o700)
    for name in ("packets.pcapng", "trace.json", "tcp-states.jsonl", "packets.pcapng.part"):
        (other / name).symlink_to(victim)
    with sockfsm.tracing(other, capture=True):
        wire_cases.normal()
    assert victim.read_text() == "precious"
    assert not (other / "packets.pcapng").is_symlink()


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0 or lacking():
        pytest.skip("needs another user")
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(folder), "-m", "timeit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "belongs to another user" in line
    assert not list(folder.iterdir())


def written(path: Path, *sizes: int) -> None:
    """A capture of packets with so many bytes each, at ns 1, 2, ..."""
    pieces = (blocks.packet(0, at, bytes(size), size) for at, size in enumerate(sizes, 1))
    path.write_bytes(blocks.section("ours") + blocks.interface(1, 0, "lo") + b"".join(pieces))


@pytest.mark.parametrize(
    ("most", "number", "times", "told"),
    [
        (0, None, [1, 3, 5], (3, 2, 0)),
        (0, 3, [1, 3], (2, 1, 0)),
        (200, None, [3, 5], (2, 2, 1)),
        (100, None, [5], (1, 2, 2)),
        (10, None, [], (0, 2, 3)),
    ],
)
def test_which_are_kept(
    tmp_path: Path, most: int, number: int | None, times: list[int], told: tuple[int, int, int]
) -> None:
    path = tmp_path / "packets.pcapng"
    written(path, 60, 60, 60, 60, 60)

    def odd(frame: Frame) -> bool:
        return frame[0] % 2 == 1

    assert thin.thin(path, odd, number=number, most=most) == told
    fresh = path.with_name(path.name + thin.PART)
    assert [frame[0] for frame in CaptureFile(fresh)] == times
    assert CaptureFile(fresh).names == {1: "lo"}


def test_when_it_is_worth_while() -> None:
    unbounded = thinner.Thinner("/x/y", 0, "a:b")
    assert not unbounded.due(thinner.START - 1)
    assert unbounded.due(thinner.START)
    assert not thinner.Thinner("/x/y", 0, "").due(1 << 40)
    bounded = thinner.Thinner("/x/y", 1 << 20, "")
    assert bounded.due(1 << 19)
    assert not bounded.due((1 << 19) - 1)
    assert bounded.full == 3 << 18


def test_what_could_not_be_begun_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(posix, "pipe", refused)
    file = output.File(str(tmp_path / "packets"))
    file.size = thinner.START
    late = thinner.Thinner(file.path, 0, "a:b")
    late.begin(file, 0, 0)
    assert not late.due(file.size)


def test_at_the_end_a_copy_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    """Else whoever stops the capture takes it for dead."""
    capturing = object.__new__(capturer.Capturing)
    capturing.end, capturing.until = b"the last probe", 0.0
    capturing.file = output.File(str(tmp_path / "packets"))
    capturing.thinner = thinner.Thinner(capturing.file.path, 8, "")
    capturing.thinner.results, results = os.pipe()
    capturing._store(bytes(100), 3)
    assert (capturing.file.lost, capturing.file.packets) == (3, 0)
    assert not capturing.thinner.ready(0)
    os.write(results, b"0 0 0")
    assert capturing.thinner.ready(0)
    os.close(results)
    os.close(capturing.thinner.results)


def test_a_file_that_somebody_has_replaced_or_cut_holds_nobody_up(tmp_path: Path) -> None:
    path, fresh = tmp_path / "packets", tmp_path / "packets.part"
    file = output.File(str(path))
    file.write(b"looked at, written meanwhile", 2)
    fresh.write_bytes(b"kept")
    path.unlink()
    path.write_bytes(b"another")
    file.go_on_in(str(fresh), len(b"looked at"), 2)
    assert path.read_bytes() == b"kept, written meanwhile"
    os.truncate(path, 10)
    fresh.write_bytes(b"kept")
    with pytest.raises(OSError, match="cut"):
        file.go_on_in(str(fresh), 4, 2)
    os.close(file.descriptor)


def test_a_capture_that_does_not_end_in_time_was_not_killed(tmp_path: Path) -> None:
    with Capture.start(tmp_path / "packets.pcapng") as capture:
        assert "did not end in time" in capture._read("late").problem
        assert "was killed" in capture._read("").problem


def test_a_file_that_the_disk_does_not_take_ends_with_a_whole_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failing write leaves what was there, and the next one may succeed."""
    file = output.File(str(tmp_path / "file"))
    assert file.write(b"first", 1)
    real: Callable[..., int] = posix.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(posix, "write", half)
    assert not file.write(b"second second", 2)
    monkeypatch.undo()
    assert file.write(b" third", 4)
    assert (tmp_path / "file").read_bytes() == b"first third"
    assert (file.packets, file.lost, file.error) == (5, 2, "No space left on device")
