"""Whatever somebody does to a log, its trace says that something is missing, and what is not lost is
read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import fuzz
import pytest
from patience import PATIENCE

from sockfsm.cli.main import main
from sockfsm.events import Lost
from sockfsm.record import room
from sockfsm.record.codec import seal
from sockfsm.record.layout import MARKED_AT, SLOT
from sockfsm.record.logs import logs_in
from sockfsm.record.thinning import Children, thin
from sockfsm.record.windows import SIZE
from sockfsm.record.writer import Log
from sockfsm.trace.decode import head
from sockfsm.trace.trace import ABOUT, Trace

PROGRAM = """
    import os, signal, socket, sys
    import sockfsm
    sockfsm.install(sys.argv[1], max_size=sys.argv[3])
    near, far = socket.socketpair()
    for _ in range(int(sys.argv[2])):
        near.send(b"x"); far.recv(1)
"""
KILLED = PROGRAM + "    os.kill(os.getpid(), signal.SIGKILL)\n"
ENDED = PROGRAM + "    near.close(); far.close(); sockfsm.uninstall()\n"
MANY = 30_000


def record(folder: Path, code: str, calls: int = 100, size: str = "1G", status: int = 0) -> Path:
    """A trace by a program of its own: its log's first file."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), folder, str(calls), size],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == status, done.stderr
    return logs_in(folder)[0].paths[0]


def problems(folder: Path) -> list[str]:
    trace = Trace.open(folder)
    list(trace.calls())
    return trace.problems


def test_a_log_that_nobody_touched_lacks_nothing(tmp_path: Path) -> None:
    for name, code, calls in (("a", ENDED, 100), ("b", ENDED, 2_100), ("c", ENDED, MANY)):
        record(tmp_path / name, code, calls)
        assert problems(tmp_path / name) == []
    for name, calls in (("d", 100), ("e", 2_100), ("f", MANY)):
        log = record(tmp_path / name, KILLED, calls, status=-signal.SIGKILL)
        assert problems(tmp_path / name) == []
        room.cut(log)
        assert log.read_bytes()[-SLOT:] == seal(log.stat().st_size // SLOT - 1) or calls == MANY
        assert problems(tmp_path / name) == []
        size = log.stat().st_size
        room.cut(log)
        assert log.stat().st_size == size


def test_a_log_that_ends_with_its_window_lacks_nothing(tmp_path: Path) -> None:
    """Every length of a log near the end of a window: none has room for another's seal."""
    log = Log()
    log.open(str(tmp_path), os.getpid(), lambda _: [], print)
    path = Path(log.path)
    for number in range(4_095):
        log.write(1, 2, 1, number, 0, 0, 0, 0)
    log.close()
    assert path.stat().st_size == SIZE
    assert Trace.open(tmp_path).heads
    trace = Trace.open(tmp_path)
    list(trace.calls())
    assert trace.losses == []


def test_of_two_logs_begun_at_a_time_the_unused_one_was_not_removed(tmp_path: Path) -> None:
    """A finalizer or a thread comes between the steps of a fork's first record."""
    log = Log()

    def told(number: int) -> list[dict[str, object]]:
        if number == 0:
            log.open(str(tmp_path), os.getpid(), told, print)
        return [{"pid": os.getpid()}]

    log.open(str(tmp_path), os.getpid(), told, print)
    log.write(1, 2, 1, 1, 0, 0, 0, 0)
    assert Path(log.path).name == f"{os.getpid()}-1.calls"
    log.close()
    trace = Trace.open(tmp_path)
    list(trace.calls())
    assert (trace.losses, len(trace.heads)) == ([], 1)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.unused")) == 0


@pytest.mark.parametrize("code", [ENDED, KILLED], ids=["ended", "killed"])
@pytest.mark.parametrize("calls", [100, 2_100, MANY])
def test_a_log_that_was_cut_says_so(calls: int, code: str, tmp_path: Path) -> None:
    log = record(tmp_path / "trace", code, calls, status=0 if code is ENDED else -signal.SIGKILL)
    whole = log.read_bytes()
    sizes = {0, 1, SLOT - 1, SLOT, SLOT * 90, SIZE - SLOT, SIZE, len(whole) // 2, len(whole) - SLOT}
    for size in sorted(s for s in sizes if s < len(whole)):
        log.write_bytes(whole[:size])
        said = [p.removeprefix(f"{log.name}: ") for p in problems(tmp_path / "trace")]
        assert any(p.startswith(("was cut", "is empty", "the last ")) for p in said), (size, said)
    # Emptied while it was written: the file grows behind the hole.
    log.write_bytes(bytes(SIZE) + whole[SIZE:])
    assert problems(tmp_path / "trace")


@pytest.mark.parametrize("words", fuzz.COMMANDS, ids=" ".join)
@pytest.mark.parametrize("size", [0, -SLOT * 50])
def test_every_view_says_that_a_log_was_cut(
    size: int, words: tuple[str, ...], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = tmp_path / "trace"
    shutil.copytree(fuzz.TRACES / "tcp-echo", folder)
    (log,) = folder.glob("*.calls")
    source = tmp_path / "source"
    made = record(source, ENDED)
    log.unlink()
    (folder / made.name).write_bytes(made.read_bytes()[:size])
    if words[0] == "diagram" and not size:
        return  # there is nothing to draw: that is an error
    assert main([*words, str(folder)]) in (0, 1)
    out, err = (text.decode(errors="replace") for text in capfdbinary.readouterr())
    joined = " ".join(line.strip() for line in (err if words[0] == "diagram" else out).split("\n"))
    assert made.name in joined
    assert ("is empty" if not size else "was cut") in joined


def removed_child(folder: Path) -> str:
    """`sockfsm run` wrote down at its end which logs there are."""
    (child,) = (log for log in logs_in(folder) if head(log).parent)
    child.paths[0].unlink()
    return child.name


def removed_parent(folder: Path) -> str:
    (folder / ABOUT).unlink()
    (parent,) = (log for log in logs_in(folder) if not head(log).parent)
    parent.paths[0].unlink()
    return parent.name


def removed_all(folder: Path) -> str:
    for log in folder.glob("*.calls"):
        log.unlink()
    shutil.copy(fuzz.TRACES / "tcp-echo" / "packets.pcapng", folder)
    return "2 logs removed"


def removed_all_without_a_word(folder: Path) -> str:
    removed_all(folder)
    (folder / ABOUT).unlink()
    return "no call log"


@pytest.mark.parametrize(
    "remove", [removed_child, removed_parent, removed_all, removed_all_without_a_word]
)
def test_a_log_that_was_removed_is_missed(remove: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import os, socket\nnear, far = socket.socketpair()\n"
        "if os.fork() == 0:\n    near.send(b'x')\n    os._exit(0)\nos.wait()\n"
    )
    folder = tmp_path / "trace"
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder)]
    subprocess.run([*command, tmp_path / "program.py"], check=True, timeout=PATIENCE)
    assert problems(folder) == []
    name = remove(folder)
    (problem,) = problems(folder)
    assert "removed" in problem
    assert name in problem
    (lost,) = _losses(folder)
    assert (lost.what, lost.since) == ("logs", 0)


def _losses(folder: Path) -> Sequence[Lost]:
    trace = Trace.open(folder)
    list(trace.calls())
    return trace.losses


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_segment_that_was_removed_is_missed(number: int, tmp_path: Path) -> None:
    record(tmp_path, ENDED, MANY * 2)
    (log,) = logs_in(tmp_path)
    assert len(log.paths) > 2
    log.paths[number].unlink()
    (problem,) = [p for p in problems(tmp_path) if "removed" in p]
    assert problem == f"{log.paths[number].name}: was removed"


def test_a_thinned_log_lacks_nothing_more_and_says_when_it_was_cut(tmp_path: Path) -> None:
    record(tmp_path, ENDED, MANY * 2)
    (log,) = logs_in(tmp_path)
    assert thin(log, 1, Children([]))
    (problem,) = problems(tmp_path)
    assert "oldest" in problem
    first = log.paths[0]
    first.write_bytes(first.read_bytes()[:-SLOT])
    assert [p for p in problems(tmp_path) if "was cut" in p]


def test_a_log_that_is_written_is_read_only(tmp_path: Path) -> None:
    """Who cuts a mapped file kills the program. Whoever does not have all rights cannot."""
    code = """
        import ctypes, os, socket, sys
        import sockfsm
        # Root without its special rights is a user like others.
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0
        os.chdir(sys.argv[1])
        sockfsm.install("trace", max_size="1G")
        near, far = socket.socketpair()
        for turn in range(3):
            for name in os.listdir("trace"):
                try:
                    os.truncate("trace/" + name, 0)
                except PermissionError:
                    continue
                raise AssertionError(name)
            for _ in range(30_000):
                near.send(b"x"); far.recv(1)
        near.close(); far.close()
        sockfsm.uninstall()
        newest = max(os.listdir("trace"), key=lambda name: os.stat("trace/" + name).st_mtime_ns)
        assert os.stat("trace/" + newest).st_mode & 0o777 == 0o600
        trace = sockfsm.Trace.open("trace")
        assert sum(1 for _ in trace.calls()) == 180_004, trace.problems
        assert trace.problems == []
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr


def test_a_segment_that_vanishes_while_it_is_written_is_told_and_the_next_one_is_begun(
    tmp_path: Path,
) -> None:
    code = (
        PROGRAM
        + """
    import glob, time
    os.unlink(glob.glob(sys.argv[1] + "/*.calls")[0])
    for _ in range(20_000):
        near.send(b"x"); far.recv(1)
    time.sleep(0.02)  # so long at most it is not tried again
    for _ in range(10_000):
        near.send(b"x"); far.recv(1)
    """
    )
    record(tmp_path, code)
    (log,) = logs_in(tmp_path)
    assert log.paths[0].name.endswith("+1.calls")
    assert any(p == f"{log.name}: was removed" for p in problems(tmp_path))


def test_calls_that_nobody_could_count_are_at_least_one(tmp_path: Path) -> None:
    code = (
        PROGRAM
        + """
    from sockfsm.tracer.current import session
    for _ in range(3):
        session.log.marked[0] = 1
    """
    )
    settled, killed = tmp_path / "settled", tmp_path / "killed"
    record(settled, code + "    near.close(); far.close()\n")
    log = record(killed, code + "    os.kill(os.getpid(), 9)\n", status=-signal.SIGKILL)
    assert log.read_bytes()[MARKED_AT] == 1
    for folder in (settled, killed):
        (lost,) = _losses(folder)
        assert (lost.what, lost.count, lost.least) == ("calls", 1, True)
        assert "at least 1 call not recorded" in lost.text
        assert problems(folder) == [lost.text]


def test_what_forked_children_count_does_not_forget_the_rest(tmp_path: Path) -> None:
    """Several processes write in the first slot: none writes what another one may."""
    log = Log()
    log.open(str(tmp_path), os.getpid(), lambda _: [], print)
    log.leave(lambda: None)
    log._orphan(3)
    data = next(tmp_path.glob("*.calls")).read_bytes()
    log._parent[MARKED_AT] = 1  # type: ignore[index]
    log._orphan(1)
    after = next(tmp_path.glob("*.calls")).read_bytes()
    assert (data[MARKED_AT], after[MARKED_AT]) == (0, 1)


def holed(path: Path, *slots: int) -> None:
    with path.open("r+b") as file:
        for slot in slots:
            file.seek(slot * SLOT)
            file.write(bytes(SLOT))


@pytest.mark.parametrize("code", [ENDED, KILLED], ids=["ended", "killed"])
def test_a_slot_that_was_taken_and_never_written_is_one_lost_record(
    code: str, tmp_path: Path
) -> None:
    log = record(tmp_path, code, 4_500, status=0 if code is ENDED else -signal.SIGKILL)
    before = list(Trace.open(tmp_path).calls())
    sends = [call for call in before if call.method == "send"]
    holed(log, 500, 4_095, 4_100, 6_000)  # the last of a window too
    (lost,) = _losses(tmp_path)
    assert (lost.what, lost.count, lost.least) == ("records", 4, False)
    assert len(list(Trace.open(tmp_path).calls())) == len(before) - 4
    assert (
        sends[0].wall
        < lost.since
        < lost.until
        < before[-1].wall + (before[-1].end - before[-1].begin)
    )
    (problem,) = problems(tmp_path)
    assert "4 records lost between" in problem


def test_holes_are_still_told_when_their_segment_is_thinned(tmp_path: Path) -> None:
    path = record(tmp_path, ENDED, MANY * 2)
    holed(path, 500, 600)
    (log,) = logs_in(tmp_path)
    assert thin(log, 1, Children([]))
    (lost,) = [lost for lost in _losses(tmp_path) if lost.why != "--max-size"]
    assert (lost.what, lost.count) == ("calls", 2)
    assert lost.since
    assert json.dumps(lost.text)


def test_a_run_in_which_no_log_could_be_begun_says_so(tmp_path: Path) -> None:
    """The supervisor notes at the end which logs there are: here, that there are none."""
    (tmp_path / ABOUT).write_text('{"logs": []}')
    shutil.copy(Path(__file__).parent.parent / "traces/tcp-echo/packets.pcapng", tmp_path)
    assert problems(tmp_path) == ["no call log: nothing was traced, or the logs were removed"]
