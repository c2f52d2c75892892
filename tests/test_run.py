"""`sockfsm run`: an unmodified program stays its own; its trace survives whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from sockfsm.trace.trace import Trace

Traced = Callable[..., tuple[subprocess.CompletedProcess[str], Trace]]

SOCKFSM = [sys.executable, "-m", "sockfsm"]
BASE = """
import os, signal, socket, subprocess, sys
def talk():
    a, b = socket.socketpair()
    a.sendall(b"hello")
    assert b.recv(100) == b"hello"
    a.close(); b.close()
"""


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    """Run a program's text under `sockfsm run`: (completed process, trace)."""

    def run(
        text: str, *options: str, args: Sequence[str] = (), **kwargs: Any
    ) -> tuple[subprocess.CompletedProcess[str], Trace]:
        program = tmp_path / "program.py"
        program.write_text(BASE + text)
        folder = tmp_path / "trace"
        command = [*SOCKFSM, "run", "--no-capture", "-o", str(folder), *options]
        completed = subprocess.run(
            [*command, str(program), *args],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            **kwargs,
        )
        return completed, Trace(folder)

    return run


def test_exit_status_output_and_arguments_are_the_programs_own(traced: Traced) -> None:
    completed, trace = traced(
        "talk(); print(sys.argv[1:], __name__, sys.stdin.read()); print('e', file=sys.stderr)\n"
        "sys.exit(7)",
        args=("--help", "-o", "x"),
        input="typed",
    )
    assert completed.returncode == 7
    assert completed.stdout == "['--help', '-o', 'x'] __main__ typed\n"
    assert completed.stderr == "e\n"
    assert trace.about["status"] == 7
    assert [c.method for c in trace.calls()][:4] == ["socketpair", "socketpair", "sendall", "recv"]


def test_a_signal_that_ends_the_program_ends_us(traced: Traced) -> None:
    completed, trace = traced("talk(); os.kill(os.getpid(), signal.SIGKILL)")
    assert completed.returncode == -signal.SIGKILL
    assert trace.about["status"] == -signal.SIGKILL


def test_everything_that_had_finished_survives_sigkill(traced: Traced) -> None:
    completed, trace = traced(
        "for _ in range(3000): talk()\n"
        "a, b = socket.socketpair()\n"
        "if not os.fork():\n"
        "    import time\n"
        "    while open(f'/proc/{os.getppid()}/stat').read().split()[2] != 'S': time.sleep(.01)\n"
        "    os.kill(os.getppid(), signal.SIGKILL); os._exit(0)\n"
        "a.recv(1)"
    )
    assert completed.returncode == -signal.SIGKILL
    calls = list(trace.calls())
    assert sum(c.call == "send" for c in calls) == 3000
    assert sum(c.method == "close" for c in calls) == 6000
    assert trace.problems == []
    (wait,) = trace.blocked()
    assert (wait.method, wait.end) == ("recv", None)
    assert wait.site is not None
    assert wait.site.function == "<module>"


def test_signals_are_passed_on(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        BASE + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(41))\n"
        "print('ready', flush=True)\nsignal.pause()"
    )
    command = [*SOCKFSM, "run", "--no-capture", "-o", str(tmp_path / "trace"), str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(PATIENCE) == 41


def test_children_by_fork_multiprocessing_and_subprocess(traced: Traced) -> None:
    completed, trace = traced(
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    for way in ('fork', 'spawn'):\n"
        "        child = multiprocessing.get_context(way).Process(target=talk)\n"
        "        child.start(); child.join()\n"
        "    if not os.fork(): talk(); os._exit(0)\n"
        "    os.wait()\n"
        "    code = 'import socket; a, b = socket.socketpair(); a.sendall(b\"hello\")'\n"
        "    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)\n"
    )
    assert completed.stderr == ""
    sends = [c for c in trace.calls() if c.call == "send" and c.done == 5]
    assert len({c.process.pid for c in sends}) == 4
    assert all(c.explained for c in trace.calls())


def test_a_forked_child_goes_on_with_its_parents_sockets(traced: Traced) -> None:
    _, trace = traced(
        "a, b = socket.socketpair()\n"
        "if not os.fork():\n"
        "    b.sendall(b'child'); b.close(); os._exit(0)\n"
        "b.close(); assert a.recv(9) == b'child'; assert a.recv(9) == b''; os.wait(); a.close()"
    )
    sent = next(c for c in trace.calls() if c.call == "send")
    assert sent.socket is not None
    assert sent.socket.process.pid != sent.process.pid
    assert (sent.before, sent.socket.made_by) == ("CONNECTED", "socketpair")
    assert len(trace.sockets) == 2
    assert [c.outcome for c in trace.calls() if c.call == "recv"] == ["ok", "eof"]


def test_what_is_open_at_exit_is_closed_by_the_kernel(traced: Traced) -> None:
    _, trace = traced("keep = socket.socket()")
    assert [(c.method, c.after) for c in trace.calls()] == [
        ("socket", "CREATED"),
        ("exit", "EXITED"),
    ]


def test_enforce_reaches_the_program_as_its_own_exception(traced: Traced) -> None:
    completed, _ = traced(
        "s = socket.socket()\ntry: s.accept()\nexcept OSError as e: print(type(e).__name__, e.errno)\n"
        "s.close()",
        "--enforce",
    )
    assert completed.stdout == "IllegalCall 22\n"


def test_the_users_own_sitecustomize_still_runs(traced: Traced, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = 1")
    completed, trace = traced(
        "talk(); print(sys.mine, sys.modules['sitecustomize'].__file__)",
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert completed.stdout == f"1 {tmp_path}/sitecustomize.py\n"
    assert list(trace.calls())


def test_no_descriptor_of_ours_stays_open(traced: Traced) -> None:
    text = "talk(); print(sorted(os.listdir('/proc/self/fd')))"
    completed, _ = traced(text)
    plain = subprocess.run(
        [sys.executable, "-c", BASE + text], capture_output=True, text=True, check=True
    )
    assert completed.stdout == plain.stdout


def test_a_program_that_closes_all_descriptors_goes_on_and_is_traced(traced: Traced) -> None:
    completed, trace = traced(
        "os.closerange(3, 500)\nfor _ in range(4000): talk()\nprint('done')",
    )
    assert completed.stdout == "done\n"
    assert sum(c.call == "send" for c in trace.calls()) == 4000


def test_a_full_disk_stops_the_trace_not_the_program(traced: Traced) -> None:
    completed, trace = traced(
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "for _ in range(4000): talk()\nprint('done')",
    )
    assert completed.stdout == "done\n"
    assert completed.returncode == 0
    (line,) = completed.stderr.splitlines()
    assert "the trace is incomplete" in line
    assert "File too large" in line
    assert 1000 < sum(c.call == "send" for c in trace.calls()) < 4000


def test_a_module_and_a_command_on_the_path(tmp_path: Path) -> None:
    for number, words in enumerate((["-m", "timeit", "-n1", "-r1", "1"], ["pytest", "--version"])):
        command = [*SOCKFSM, "run", "--no-capture", "-o", str(tmp_path / str(number)), *words]
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": path})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-program"], "no-such-program: no such program"),
        (["-o", "/proc/nowhere", "-m", "timeit"], "cannot write a trace there"),
        (["-o", "full", "-m", "timeit"], "is not empty"),
        (["/bin/true"], "not a Python program"),
        (["--max-size", "much", "-m", "timeit"], "no size"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = subprocess.run(
        [*SOCKFSM, "run", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_blocked_can_be_asked_while_it_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BASE + "a, b = socket.socketpair()\na.recv(1)")
    folder = tmp_path / "trace"
    command = [*SOCKFSM, "run", "--no-capture", "-o", str(folder), str(program)]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not Trace(folder).blocked():
                time.sleep(0.02)
            shown = subprocess.run(
                [*SOCKFSM, "blocked", str(folder)], capture_output=True, text=True, check=True
            )
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    assert "recv" in shown.stdout
    assert "program.py:9" in shown.stdout


def test_nothing_is_left_beside_the_trace(tmp_path: Path) -> None:
    """Nor read from there: the machines come with the package."""
    program = tmp_path / "program.py"
    program.write_text("import socket; socket.socket().close()")
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", "trace", str(program)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert done.stderr == b""
    assert [c.after for c in Trace.open(tmp_path / "trace").calls()] == ["CREATED", "CLOSED"]
    assert not list((tmp_path / "trace").glob(".*"))
    assert not list(home.iterdir())
