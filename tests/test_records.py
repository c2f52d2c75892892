"""No record is lost or doubled without a word, whatever comes between."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import plain_and_traced
import pytest
import segments
import sidelog
from patience import PATIENCE

import sockfsm
from sockfsm.errors import UsageError
from sockfsm.record import packs, room
from sockfsm.record.layout import MAGIC
from sockfsm.record.logs import LogFiles, all_logs, logs_in
from sockfsm.record.names import namespace
from sockfsm.record.room import tidy_logs, total
from sockfsm.record.thinning import LOCK, Children, thin
from sockfsm.record.windows import SIZE, SLOTS
from sockfsm.record.writer import WAITING, Log
from sockfsm.trace.trace import Trace


@pytest.mark.parametrize("name", sidelog.WHOLE)
def test_every_call_is_there_once(name: str, tmp_path: Path) -> None:
    found, error = sidelog.run(tmp_path / name, *sidelog.WHOLE[name])
    found.whole(name == "raising")
    assert error.count("\n") == error.count("Interrupted system call") == bool(found.lost)


def test_every_call_that_returned_survives_sigkill(tmp_path: Path) -> None:
    chance = random.Random(8)
    for turn in range(5):
        sidelog.kill(tmp_path / str(turn), chance.random() / 4).whole()


@pytest.mark.parametrize(
    ("text", "why", "ends"),
    [
        (sidelog.FEW_DESCRIPTORS, errno.EMFILE, 2),
        (sidelog.SMALL_FILES, errno.EFBIG, 2),
        (sidelog.KILLED_WITHOUT_ROOM, errno.EMFILE, 0),
    ],
    ids=["descriptors", "file size", "killed"],
)
def test_what_cannot_be_written_is_counted(text: str, why: int, ends: int, tmp_path: Path) -> None:
    status = -signal.SIGKILL if text is sidelog.KILLED_WITHOUT_ROOM else 0
    found, error = sidelog.run(tmp_path / "lost", text, 8_000, status)
    assert found.double == []
    # What is open when the program ends has a record of that too.
    assert found.gone + ends - found.exits == found.lost > len(found.missing) > 0
    (problem,) = found.problems
    assert f": {found.lost:,} calls not recorded between " in problem
    assert problem.endswith(os.strerror(why))
    # The program's processes say nothing; `sockfsm run` does, once, when the program has ended.
    assert error.count("\n") == error.count("the trace is incomplete") == 1


def test_a_full_disk_is_counted_too(tmp_path: Path) -> None:
    """On a small disk of its own, in a mount namespace."""
    script = """
        mount -t tmpfs -o size=2m none disk && exec "$@"
    """
    code = """
        import sys, sidelog
        from pathlib import Path
        found, error = sidelog.run(Path("disk/full").resolve(), sidelog.FULL_DISK, 8_000)
        assert found.double == []
        assert found.gone + 2 - found.exits == found.lost > len(found.missing) > 0, found
        assert found.problems[0].endswith("No space left on device"), found.problems
        assert error.count("\\n") == error.count("the trace is incomplete") == 1, error
        print(found.lost)
    """
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(sidelog.__file__).parent),
            "SIDES": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # One window had its place, as many records as WAITING waited until there was room again.
    assert 16_000 - SLOTS - WAITING < int(done.stdout) < 16_000 - WAITING


def test_a_short_want_of_descriptors_loses_nothing(tmp_path: Path) -> None:
    found, _ = sidelog.run(tmp_path / "short", sidelog.FEW_DESCRIPTORS, 900)
    assert (found.missing, found.double, found.gone, found.lost) == ([], [], 0, 0)
    assert found.problems == []


def test_heads_alone_tell_what_is_lost(tmp_path: Path) -> None:
    sidelog.run(tmp_path / "lost", sidelog.SMALL_FILES, 8_000)
    trace = Trace.open(tmp_path / "lost" / "trace")
    assert len(trace.heads) == 1
    assert len(trace.problems) == 1


def python(code: str, *arguments: object, status: int = 0) -> str:
    """Run a program of its own; what it wrote to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def test_without_its_folder_a_program_goes_on(tmp_path: Path) -> None:
    error = python(
        """
        import os, shutil, socket, sys, sockfsm
        sockfsm.install(sys.argv[1])
        shutil.rmtree(sys.argv[1])
        near, far = socket.socketpair()
        for _ in range(10_000):
            near.send(b"x"); far.recv(1)
        if os.fork() == 0:
            near.send(b"x"); far.recv(1)
            sys.exit(3)
        sys.exit(40 + os.waitstatus_to_exitcode(os.wait()[1]))
        """,
        tmp_path / "trace",
        status=43,
    )
    assert len(error.splitlines()) == 2


def test_a_child_that_can_begin_no_log_is_counted_by_its_parent(tmp_path: Path) -> None:
    python(
        """
        import os, resource, socket, sys, sockfsm
        trace = sockfsm.install(sys.argv[1])
        near, far = socket.socketpair()
        lowest = os.open("/", os.O_RDONLY)
        os.close(lowest)
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, 1024))
            for _ in range(10):
                near.send(b"x"); far.recv(1)
            os._exit(0)
        os.wait()
        """,
        tmp_path,
    )
    trace = Trace.open(tmp_path)
    assert len(list(trace.calls())) == 4
    (problem,) = trace.problems
    assert "20 calls of processes forked from this one not recorded" in problem


@pytest.mark.parametrize("calls", [10, 5_000])
def test_a_child_that_begins_its_log_late(calls: int, tmp_path: Path) -> None:
    """What waited is in it, and what could not wait is counted there, and in the parent's no more."""
    python(
        """
        import os, resource, socket, sys, time, sockfsm
        trace = sockfsm.install(sys.argv[1])
        near, far = socket.socketpair()
        lowest = os.open("/", os.O_RDONLY)
        os.close(lowest)
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, 1024))
            for _ in range(int(sys.argv[2])):
                near.send(b"x"); far.recv(1)
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
            time.sleep(0.02)  # so long at most it is not tried again
            near.send(b"x")
            os._exit(0)
        os.wait()
        """,
        tmp_path,
        calls,
    )
    trace = Trace.open(tmp_path)
    told = sum(call.call in ("send", "recv") for call in trace.calls())
    assert len(trace.processes) == 2
    if calls == 10:
        assert (told, trace.problems) == (21, [])
    else:
        (problem,) = trace.problems
        assert f": {10_001 - told:,} calls not recorded between " in problem
        assert problem.endswith(os.strerror(errno.EMFILE))


def test_the_last_words_are_not_for_a_socket(tmp_path: Path) -> None:
    """With descriptor 2 closed and taken by a socket, what we have to say is in the trace alone."""
    python(
        """
        import os, resource, socket, sys, sockfsm
        sockfsm.install(sys.argv[1])
        os.close(2)
        near, far = socket.socketpair()
        assert 2 in (near.fileno(), far.fileno())
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 1024))
        for _ in range(10_000):
            near.send(b"x")
            assert far.recv(100) == b"x"
        far.setblocking(False)
        near.setblocking(False)
        for sock in (near, far):
            try:
                sock.recv(1000)
            except BlockingIOError:
                continue
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        """,
        tmp_path,
    )
    trace = Trace.open(tmp_path)
    assert len(trace.processes) == len(trace.problems) == 1


def test_what_the_program_replaces_is_not_what_we_use(tmp_path: Path) -> None:
    """Functions of `os` and `time`, and clocks as freezegun replaces them: by a look at all modules."""
    error = python(
        """
        import os, socket, sys, time
        import sockfsm, sockfsm.tracer.session
        trace = sockfsm.install(sys.argv[1])
        real = {id(getattr(time, n)) for n in ("time", "time_ns", "monotonic", "monotonic_ns")}
        def no(*_, **__):
            raise AssertionError("ours is not to be used")
        hit = [n for n in dir(os) if n in ("open", "close", "truncate", "posix_fallocate", "write",
            "fstat", "getpid", "getppid", "unlink")]
        before = time.monotonic_ns()
        for name, module in list(sys.modules.items()):
            if name.startswith("sockfsm.record"):
                for attribute in dir(module):
                    if id(getattr(module, attribute)) in real:
                        setattr(module, attribute, no)
        kept = {name: getattr(os, name) for name in hit}
        for name in hit:
            setattr(os, name, no)
        near, far = socket.socketpair()
        for _ in range(10_000):
            near.send(b"x"); far.recv(1)
        for name in hit:
            setattr(os, name, kept[name])
        sockfsm.uninstall()
        assert len(list(trace.calls())) == 20_002, trace.problems
        (process,) = trace.processes
        assert process.ended >= before
        """,
        tmp_path,
    )
    assert error == ""


def test_sockets_of_programs_that_follow_by_exec_are_their_own(tmp_path: Path) -> None:
    found, _ = sidelog.run(tmp_path / "exec", sidelog.EXEC, 10)
    trace = found.trace
    names = [name.rpartition(".")[0] for name in trace.sockets]
    pid = trace.processes[0].pid
    assert sorted(set(names)) == [str(pid), *(f"{pid}-{n}" for n in (1, 2, 3))]
    assert len(trace.sockets) == 8
    assert [process.pid for process in trace.processes] == [pid] * 4


def test_sockets_of_subinterpreters_are_their_own(tmp_path: Path) -> None:
    found, _ = sidelog.run(tmp_path / "inner", sidelog.SUBINTERPRETERS, 10)
    assert len(found.trace.sockets) == 8
    assert len(set(found.trace.sockets)) == 8


def test_a_subinterpreter_does_not_change_the_exit_status(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"{sidelog.INTERPRETERS}\ninterpreters.run_string(create(), 'import socket')\nraise ValueError"
    )
    assert [done.returncode for done in plain_and_traced.run(program)] == [1, 1]


def test_the_oldest_go_and_what_is_left_is_known(tmp_path: Path) -> None:
    """A server and its connection outlive the segments in which they were made."""
    with sockfsm.tracing(tmp_path, max_size="1M") as trace:
        listening = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
        for _ in range(40_000):
            client.send(b"x")
            data.recv(1)
        assert total(tmp_path) <= (1 << 20) + 2 * SIZE
        for sock in (client, data, listening):
            sock.close()
    calls = list(trace.calls())
    (problem,) = trace.problems
    # One resolved the name.
    dropped = 80_001 - sum(call.call in ("send", "recv") for call in calls)
    assert f"the oldest {dropped:,} calls dropped by --max-size" in problem
    assert dropped > 50_000
    assert [c.call for c in calls[:6]] == [
        "create",
        "bind",
        "listen",
        "create",
        "connect",
        "accept",
    ]
    server, one, two = trace.sockets.values()
    assert (server.kind, one.kind, two.kind) == ("tcp", "tcp", "tcp")
    assert (two.made_by, two.parent) == ("accepted", server.identity)
    assert two.remote == one.local is not None
    assert all(call.explained and call.site and call.thread.name for call in calls)
    assert {call.before for call in calls if call.call == "send"} == {"CONNECTED"}


def test_what_is_closed_leaves_nothing_behind(tmp_path: Path) -> None:
    with sockfsm.tracing(tmp_path, max_size="1M") as trace:
        for _ in range(15_000):
            near, far = socket.socketpair()
            near.close()
            far.close()
        assert total(tmp_path) <= (1 << 20) + 2 * SIZE
    first = logs_in(tmp_path)[0].paths[0]
    assert first.stat().st_size < 20_000
    assert all(call.socket is not None for call in trace.calls())


def test_a_wait_of_a_week_is_still_seen(tmp_path: Path) -> None:
    import threading

    with sockfsm.tracing(tmp_path, max_size="1M") as trace:
        waits, wakes = socket.socketpair()
        near, far = socket.socketpair()
        thread = threading.Thread(target=waits.recv, args=(7,), name="waiting")
        thread.start()
        while not trace.blocked():
            pass
        for _ in range(30_000):
            near.send(b"x")
            far.recv(1)
        (wait,) = trace.blocked()
        assert (wait.thread.name, wait.method) == ("waiting", "recv")
        assert trace.problems
        wakes.send(b"x")
        thread.join()
        for sock in (waits, wakes, near, far):
            sock.close()
    assert trace.blocked() == []


def test_a_child_knows_its_sockets_after_the_parent_has_closed_and_dropped_them(
    tmp_path: Path,
) -> None:
    python(
        """
        import os, socket, sys, sockfsm
        sockfsm.install(sys.argv[1], max_size="1M")
        near, far = socket.socketpair()
        go, ready = socket.socketpair()
        if os.fork() == 0:
            near.send(b"x")
            go.recv(1)
            for _ in range(10):
                near.send(b"x")
            os._exit(0)
        near.close()
        while not far.recv(1):
            pass
        far.close()
        one, two = socket.socketpair()
        for _ in range(40_000):
            one.send(b"x"); two.recv(1)
        ready.send(b"x")
        os.wait()
        """,
        tmp_path,
    )
    trace = Trace.open(tmp_path)
    child = max(trace.processes, key=lambda process: process.started)
    sends = [c for c in trace.calls() if c.process.log == child.log and c.call == "send"]
    assert len(sends) == 11
    assert {c.socket.kind for c in sends if c.socket} == {"unix-stream"}
    assert "dropped" in trace.problems[0]


def test_many_children_share_files(tmp_path: Path) -> None:
    python(
        """
        import os, socket, sys, sockfsm
        sockfsm.install(sys.argv[1])
        socket.socket().close()
        for _ in range(120):
            if os.fork() == 0:
                socket.socket().close()
                os._exit(0)
            os.wait()
        """,
        tmp_path,
    )
    before = list(Trace.open(tmp_path).calls())
    assert len(before) == 242
    assert len(logs_in(tmp_path)) == 121
    for _ in range(2):
        tidy_logs(tmp_path, 1 << 30)
    assert len(logs_in(tmp_path)) < 5
    assert total(tmp_path) < 150_000
    trace = Trace.open(tmp_path)
    told = [(c.process.pid, c.method, c.end) for c in trace.calls()]
    assert sorted(told) == sorted((c.process.pid, c.method, c.end) for c in before)
    assert trace.problems == []
    assert len(trace.sockets) == 121


def test_whole_processes_go_when_there_are_too_many(tmp_path: Path) -> None:
    python(
        """
        import os, socket, sys, sockfsm
        sockfsm.install(sys.argv[1])
        for _ in range(12):
            if os.fork() == 0:
                near, far = socket.socketpair()
                for _ in range(2_000):
                    near.send(b"x"); far.recv(1)
                os._exit(0)
            os.wait()
        """,
        tmp_path,
    )
    tidy_logs(tmp_path, 1 << 20)
    assert total(tmp_path) <= 1 << 20
    trace = Trace.open(tmp_path)
    left = len(list(trace.calls()))
    assert 0 < left < 12 * 4_002
    (problem,) = trace.problems
    processes = 13 - len(trace.processes)
    assert problem == (
        f"{12 * 4_002 - left:,} calls of the {processes:,} oldest processes dropped by --max-size"
    )


def test_logs_are_for_their_owner_alone(tmp_path: Path) -> None:
    with sockfsm.tracing(tmp_path / "new") as trace:
        socket.socket().close()
    (log,) = trace.logs
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert isinstance(log, Path)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path) -> None:
    folder, victim = tmp_path / "trace", tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir()
    for number in range(3):
        (folder / f"{os.getpid()}-{number}.calls").symlink_to(victim)
    with sockfsm.tracing(folder):
        socket.socket().close()
    assert victim.read_text() == "precious"
    assert (folder / f"{os.getpid()}-3.calls").read_bytes().startswith(MAGIC)


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o770, 0o1777])
def test_a_folder_that_others_can_write_is_refused(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UsageError, match="others can write there"):
        sockfsm.install(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to another user"):
        sockfsm.install(folder)


@pytest.mark.parametrize("size", ["", "x", "10", "-1", True, 3.5, "5 miles"])
def test_a_size_that_is_none_is_refused(size: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_size: "):
        sockfsm.install(tmp_path, max_size=size)  # type: ignore[arg-type]


def test_whoever_turns_the_window_too_late_uses_the_others(tmp_path: Path) -> None:
    """A handler that comes between mapping and installing: no slot is used twice, none is lost."""
    log = Log()
    log.open(str(tmp_path), 1, lambda number: [{"pid": 1}], print)
    files = log._now.files
    assert files is not None
    real = files.map
    inside = 0

    class Interrupted(type(files)):  # type: ignore[misc]
        __slots__ = ()

        def map(self) -> object:
            nonlocal inside
            window = real()
            if not inside:
                inside += 1
                for number in range(SLOTS + 10):
                    log.write(1, 2, 12, 1_000_000 * inside + number, 0, 0, 0, 0)
            return window

    log._now.files = Interrupted.__new__(Interrupted)
    for name in type(files).__slots__:
        setattr(log._now.files, name, getattr(files, name))
    for number in range(SLOTS + 100):
        log.write(1, 2, 12, number, 0, 0, 0, 0)
    assert inside == 1
    log.close()
    from sockfsm.record.reader import LogReader

    reader = LogReader(*logs_in(tmp_path)[0].files)
    told = [item[3] for item in reader if not isinstance(item, dict)]
    assert len(told) == len(set(told)) == 2 * SLOTS + 110
    assert reader.problems == []


def test_logs_stay_below_their_size_without_a_supervisor(tmp_path: Path) -> None:
    """What `make dropin` does for longer: there the memory stays, too."""
    _, disk = sidelog.soak(tmp_path, 3_000)
    assert disk <= (2 << 20) + 2 * SIZE


def test_one_at_a_time_tidies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chores beside the program, when its end is put in order too, and other supervisors."""
    import threading

    from sockfsm.run import tidy as module

    inside, waiting, go = threading.Event(), threading.Event(), threading.Event()
    at_it, most = [0], [0]

    def tidying(*_: object) -> None:
        at_it[0] += 1
        most[0] = max(most[0], at_it[0])
        inside.set()
        assert go.wait(PATIENCE)
        at_it[0] -= 1

    def lock(*arguments: Any) -> None:
        if inside.is_set():
            waiting.set()
        flock(*arguments)

    flock = fcntl.flock
    monkeypatch.setattr(module, "tidy_logs", tidying)
    monkeypatch.setattr(fcntl, "flock", lock)
    threads = [threading.Thread(target=module.tidy, args=(Trace(tmp_path),)) for _ in range(2)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    threads[1].start()
    assert waiting.wait(PATIENCE)
    go.set()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_nothing_is_under_way_when_the_end_is_put_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sockfsm.run import supervise
    from sockfsm.run.housekeeping import Housekeeping

    done: list[str] = []
    run = supervise._Run(tmp_path, supervise.Options())
    monkeypatch.setattr(supervise, "tidy", lambda *_: done.append("tidy"))
    monkeypatch.setattr(Housekeeping, "stop", lambda _: done.append("stop"))
    run.chores = Housekeeping({}, print)
    run.end(0)
    assert done == ["stop", "tidy"]


@pytest.mark.parametrize("ended", [False, True])
def test_a_log_is_packed_when_its_process_has_ended(
    ended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while its process is about to map it, and also when it was not waited for."""
    monkeypatch.setattr(room, "TOGETHER", 1)
    ready, go = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(go)
        os.read(ready, 1)
        os._exit(0)
    os.close(ready)
    try:
        log = Log()
        log.open(
            str(tmp_path), process, lambda number: [{"pid": process, "pids": namespace()}], print
        )
        log.close()
        # A process that only begins its log has made the file and has not mapped it yet. Nobody knows
        # whose number that is: it stays.
        (tmp_path / f"{process}-1.calls").touch()
        if ended:
            os.write(go, b"x")
            os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        tidy_logs(tmp_path, 1 << 30)
        assert len(logs_in(tmp_path)) == (1 if ended else 2)
    finally:
        os.close(go)
        os.waitpid(process, 0)


def dead(number: int) -> dict[str, object]:
    return {"pid": 1, "n": number, "pids": namespace()}


def of_the_dead(folder: Path, number: int = 0) -> Path:
    """A small log of a process that has ended."""
    log = Log()
    log.open(str(folder), (1 << 22) + 1 + number, lambda _: [dead(number)], print)
    path = Path(log.path)
    log.close()
    return path


@pytest.mark.parametrize("step", ["cut", "_is_small", "pack_away"])
def test_what_vanishes_meanwhile_is_no_error(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [of_the_dead(tmp_path, number) for number in range(3)]
    real = getattr(room, step)

    def late(*arguments: object) -> object:
        paths[0].unlink(missing_ok=True)
        return real(*arguments)

    monkeypatch.setattr(room, "TOGETHER", 1)
    monkeypatch.setattr(room, step, late)
    tidy_logs(tmp_path, 1 << 30)
    assert [log.name for log in all_logs(tmp_path, [])] == [path.name for path in paths[1:]]


def test_what_a_pack_does_not_hold_stays_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TOGETHER", 1)
    path = of_the_dead(tmp_path)
    before = path.read_bytes()

    def torn(target: Path, sources: Iterable[Path | packs.Packed]) -> None:
        real(target, sources)
        os.truncate(target, target.stat().st_size - 9)

    real = packs.pack
    monkeypatch.setattr(packs, "pack", torn)
    tidy_logs(tmp_path, 1 << 30)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_damaged_pack_is_not_tidied_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TOGETHER", 1)
    of_the_dead(tmp_path)
    tidy_logs(tmp_path, 1 << 30)
    (damaged,) = tmp_path.iterdir()
    os.truncate(damaged, damaged.stat().st_size - 9)
    for _ in range(2):
        of_the_dead(tmp_path, 1)
        tidy_logs(tmp_path, 1 << 30)
    problems: list[str] = []
    all_logs(tmp_path, problems)
    assert problems == [f"{damaged.name}: damaged: some logs of ended processes are lost"]


def test_a_reader_finds_what_is_packed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the logs and that at the packs, and between both and the reading."""
    from sockfsm.record import logs as module
    from sockfsm.record.reader import LogReader

    monkeypatch.setattr(room, "TOGETHER", 1)
    names = [of_the_dead(tmp_path, number).name for number in range(3)]
    real = module.logs_in

    def slow(folder: Path) -> list[LogFiles]:
        found = real(folder)
        monkeypatch.setattr(module, "logs_in", real)
        tidy_logs(tmp_path, 1 << 30)
        return found

    monkeypatch.setattr(module, "logs_in", slow)
    problems: list[str] = []
    assert sorted(log.name for log in all_logs(tmp_path, problems)) == names
    last = of_the_dead(tmp_path, 3)
    found = all_logs(tmp_path, problems)
    tidy_logs(tmp_path, 1 << 30)
    assert not last.exists()
    told = [next(iter(LogReader(*log.files))) for log in found]
    assert sorted(note["n"] for note in told if isinstance(note, dict)) == [0, 1, 2, 3]
    assert problems == []


def test_every_call_of_a_storm_of_forks_is_there(tmp_path: Path) -> None:
    """Supervised with chores all the time, each log packed as soon as may be."""
    code = """
        import sys
        from sockfsm.record import room
        from sockfsm.run import housekeeping
        housekeeping._SECONDS, room.TOGETHER = 0.01, 1
        from sockfsm.__main__ import main
        sys.exit(main(sys.argv[1:]))
    """
    command = sidelog.program(tmp_path, sidelog.FORK_STORM, 45)
    at = command.index("sockfsm")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *command[at + 1 :]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = sidelog.compare(tmp_path)
    found.whole()
    assert any(tmp_path.glob("trace/*.packed"))
    # Those that followed by exec have the names that come after.
    logs = [process.log for process in found.trace.processes]
    assert sum(log.endswith("-1.calls") for log in logs) == 15


def test_a_log_is_thinned_by_one_process(tmp_path: Path) -> None:
    """The supervisor does nothing while the traced process is at it, nor when it has been."""
    log = segments.several(tmp_path)
    thin_it = """
        import sys
        from pathlib import Path
        from sockfsm.record.logs import logs_in
        from sockfsm.record.thinning import Children, thin
        (log,) = logs_in(Path(sys.argv[1]))
        sys.exit(10 + thin(log, int(sys.argv[2]), Children([])))
    """
    lock = log.paths[0].with_name(log.name + LOCK)
    with lock.open("wb") as file:
        os.lockf(file.fileno(), os.F_LOCK, 0)
        python(thin_it, tmp_path, 2, status=10)
        assert logs_in(tmp_path) == [log]
    python(thin_it, tmp_path, 2, status=11)
    calls = len(list(Trace(tmp_path).calls()))
    # By the look that was taken before: what it would write lacks what is gone already.
    assert not thin(log, 1, Children([]))
    assert not lock.exists()
    assert len(list(Trace(tmp_path).calls())) == calls


def test_what_cannot_be_thinned_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    path = of_the_dead(tmp_path)
    for number in range(1, 4):
        path.with_name(f"{os.getpid()}-0+{number}.calls").write_bytes(MAGIC + b"\1" * 100_000)
    room.bound(tmp_path, 1)
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs namespaces")
@pytest.mark.parametrize("inner", ["tidier", "program"])
@pytest.mark.parametrize("proc", ["own", "theirs"])
def test_a_process_of_another_namespace_keeps_its_log(
    inner: str, proc: str, tmp_path: Path
) -> None:
    """Whoever is there under another number, or cannot be seen, is not taken for dead."""
    trace = tmp_path / "trace"
    program = """
        import os, socket, sys, time
        import sockfsm
        sockfsm.install(sys.argv[1])
        near, far = socket.socketpair()
        near.send(b"x")
        print("ready", flush=True)
        sys.stdin.readline()
        far.recv(1)
        near.close(); far.close()
    """
    tidier = """
        import sys
        from pathlib import Path
        from sockfsm.record import room
        room.TOGETHER = 1
        room.tidy_logs(Path(sys.argv[1]), 1 << 30)
    """
    alone = ["unshare", "--fork", "--pid", *(["--mount-proc"] if proc == "own" else [])]

    def command(who: str, code: str) -> list[str]:
        ours = [sys.executable, "-c", textwrap.dedent(code), str(trace)]
        return [*alone, *ours] if who == inner else ours

    with subprocess.Popen(
        command("program", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # Whatever number it has here, there it is another's, or nobody's.
        for path in trace.glob("*.calls"):
            path.rename(path.with_name(f"{(1 << 22) + 1}-0.calls"))
        subprocess.run(command("tidier", tidier), check=True, timeout=PATIENCE)
        assert len(list(trace.glob("*.calls"))) == 1
        process.communicate("go\n", timeout=PATIENCE)
    assert [c.method for c in Trace.open(trace).calls()][:4] == ["socketpair"] * 2 + [
        "send",
        "recv",
    ]
