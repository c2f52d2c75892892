"""A session owns all that the tracer knows: the next one, or another interpreter's, shares nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
import sidelog
from asleep import asleep
from patience import PATIENCE

import sockfsm
from sockfsm.errors import UsageError
from sockfsm.trace.trace import Trace
from sockfsm.tracer import current


def busy(folder: Path) -> Trace:
    """A session in which everything is met: threads, places, addresses, paths, dup, detach, a wait."""
    folder.mkdir()
    with sockfsm.tracing(folder) as trace:
        near, far = socket.socketpair()
        thread = threading.Thread(target=near.recv, args=(1,), name="receiver")
        thread.start()
        far.send(b"x")
        thread.join()
        with socket.socket(socket.AF_UNIX) as named:
            named.bind(str(folder / "name"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
        far.dup().close()
        again = socket.socket(fileno=far.detach())
        for sock in (near, again):
            sock.close()
        socket.getaddrinfo("127.0.0.1", 1)
    return trace


def outline(trace: Trace) -> list[tuple[object, ...]]:
    """The calls, without what differs from one run to the next."""
    return [
        (
            *(call.method, call.outcome, call.before, call.after),
            *(call.site.line, call.thread.number, call.thread.name),
            call.socket.number if call.socket is not None else 0,
        )
        for call in sorted(trace.calls(), key=lambda call: (call.thread.number, call.begin))
        if call.site is not None
    ]


def test_two_sessions_share_nothing(tmp_path: Path) -> None:
    first, second = busy(tmp_path / "1"), busy(tmp_path / "2")
    assert outline(first) == outline(second)
    assert first.problems == second.problems == []


def test_what_was_resolved_in_one_session_is_not_in_the_next(tmp_path: Path) -> None:
    busy(tmp_path / "1")  # the last thing it does is to resolve a name
    with sockfsm.tracing(tmp_path / "2") as trace:
        socket.socket().close()
    (made, _) = trace.calls()
    assert (made.method, made.before) == ("socket", "START")


def test_what_cannot_be_seen_is_said_in_each_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", types.ModuleType("uvloop"))
    for name in ("1", "2"):
        with sockfsm.tracing(tmp_path / name) as trace:
            socket.socket().close()
        assert len(list(trace.calls())) == 2
        assert any("uvloop" in problem for problem in trace.problems)


@pytest.mark.parametrize("method", ["recv", "recvfrom"])
def test_a_call_that_outlives_its_session_says_nothing_to_the_next(
    tmp_path: Path, method: str
) -> None:
    near, far = socket.socketpair()
    with sockfsm.tracing(tmp_path / "1") as first:
        others = [socket.socket() for _ in range(5)]  # so its number is none of the second's
        thread = threading.Thread(target=getattr(near, method), args=(100,))
        thread.start()
        asleep(thread)
    with sockfsm.tracing(tmp_path / "2") as second:
        assert sockfsm.blocked() == []
        far.send(b"x")
        thread.join()
        far.send(b"y")
        near.recv(100)
    calls = [(call.method, call.site.function if call.site else "") for call in second.calls()]
    here = "test_a_call_that_outlives_its_session_says_nothing_to_the_next"
    assert calls == [
        ("adopt", here),
        ("send", here),
        ("send", here),
        ("adopt", here),
        ("recv", here),
    ]
    assert [wait.method for wait in Trace.open(first.path).summary().blocked] == [method]
    for sock in (near, far, *others):
        sock.close()


def test_the_fast_path_of_a_call_that_outlives_its_session_writes_nothing(tmp_path: Path) -> None:
    """The session ends and the next one begins while the kernel sends."""
    near, far = socket.socketpair()
    with sockfsm.tracing(tmp_path / "1"):
        for _ in range(3):
            near.send(b"x")
        tracked = current.session.records[id(near)]
        model, row = tracked.model, tracked.model.row
    assert model.row is not row
    assert not model.row
    near.close()
    far.close()


def test_a_block_inside_another_is_a_view_of_the_same_session(tmp_path: Path) -> None:
    with sockfsm.tracing(tmp_path) as outer:
        session = current.session
        before = socket.socket()
        with sockfsm.tracing() as inner:
            assert current.session is session
            inside = socket.socket()
        assert current.session is session
        after = socket.socket()
        with pytest.raises(UsageError, match="already tracing"):
            sockfsm.install(tmp_path / "other")
        assert current.session is session
        for sock in (before, inside, after):
            sock.close()
    assert current.session is not session
    assert inner.path == outer.path
    assert [call.socket.number for call in inner.calls() if call.socket is not None] == [2]
    assert len(outer.sockets) == 3


def test_a_session_that_cannot_begin_leaves_the_one_before(tmp_path: Path) -> None:
    before = current.session
    with pytest.raises(UsageError, match="no kind"):
        sockfsm.install(tmp_path, machines={"sctp": sockfsm.machine("tcp")})
    assert current.session is before
    assert not sockfsm.blocked()
    with sockfsm.tracing(tmp_path / "2") as trace:
        socket.socket().close()
    assert len(list(trace.calls())) == 2


APART = """
import _thread, socket
text = '''
import socket
near, far = socket.socketpair()
for _ in range(200):
    near.send(b"x")
    far.recv(10)
near.close()
far.close()
'''
made = [create() for _ in range(3)]
exec(text)
held = [_thread.allocate_lock() for _ in made]
def run(inner, lock):
    interpreters.run_string(inner, text)
    lock.release()
for inner, lock in zip(made, held):
    lock.acquire()
    _thread.start_new_thread(run, (inner, lock))
exec(text)
for lock in held:
    lock.acquire()
for inner in made:
    interpreters.destroy(inner)
"""


def test_interpreters_at_the_same_time_have_a_session_each(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(sidelog.INTERPRETERS + APART)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "t")]
    done = subprocess.run(
        [*command, str(program)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    trace = Trace.open(tmp_path / "t")
    assert trace.problems == []
    logs = sorted(process.log for process in trace.processes)
    pid = trace.processes[0].pid
    assert logs == [f"{pid}-{n}.calls" for n in range(4)]
    calls = list(trace.calls())
    for log in logs:
        mine = [call for call in calls if call.process.log == log and call.socket is not None]
        pairs = 2 if log == logs[0] else 1
        assert len(mine) == pairs * (200 * 2 + 4)
        assert all(call.socket is None or call.socket.process.log == log for call in mine)
        assert all(call.explained for call in mine)
    assert len(trace.sockets) == 2 * 5


REFUSED = """
import os, subprocess, sys
os.chmod(sys.argv[1], 0o777)
interpreters.run_string(create(), "import socket")
os.chmod(sys.argv[1], 0o700)
subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], check=True)
"""


def test_an_interpreter_that_is_not_traced_keeps_no_child_from_being_traced(tmp_path: Path) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "t"
    program.write_text(sidelog.INTERPRETERS + REFUSED)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder)]
    done = subprocess.run(
        [*command, str(program), str(folder)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert done.stderr.startswith("sockfsm: not traced: ")
    assert done.stderr.count("\n") == 1
    assert [len(process.command) for process in Trace.open(folder).processes] == [3, 3]
    assert [call.method for call in Trace.open(folder).calls()] == ["socket", "collected"]
