"""`sockfsm run` in surroundings that fail it: the program's start, output and end stay its own.

Each program runs plain and traced in the same surroundings; what it printed and how it ended must be
the same, but for our lines on standard error.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from patience import PATIENCE
from test_kernel_states import lacking

from sockfsm.trace.trace import Trace

TALK = """
import os, signal, socket, sys, time
def talk():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        data, _ = server.accept()
        client.sendall(b"hello")
        assert data.recv(5) == b"hello"
        client.close(); data.close()
talk()
"""
FOLDER = "FOLDER = os.environ.get('SOCKFSM_TRACE', sys.argv[1])\n"


class Ended(NamedTuple):
    status: int
    output: str
    errors: tuple[str, ...]


class Both:
    """A program, plain and traced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace"
        self.ours: list[str] = []

    def run(
        self,
        text: str,
        *options: str,
        under: tuple[str, ...] = (),
        ready: Callable[[], None] = lambda: None,
        **kwargs: object,
    ) -> tuple[Ended, Ended]:
        """under: a command that gives the surroundings. ready: makes them anew before each run."""
        program = self.folder / "program.py"
        program.write_text(TALK + FOLDER + text)
        sockfsm = [sys.executable, "-m", "sockfsm", "run", *options, "-o", self.trace]
        ended = []
        for command in ([sys.executable], sockfsm):
            ready()
            done = subprocess.run(
                [*under, *command, program, self.trace],
                timeout=PATIENCE,
                text=True,
                **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs},  # type: ignore[call-overload]
            )
            lines = (done.stderr or "").splitlines()
            theirs = tuple(line for line in lines if not line.startswith("sockfsm: "))
            ended.append(Ended(done.returncode, done.stdout or "", theirs))
            self.ours = [line for line in lines if line.startswith("sockfsm: ")]
        return ended[0], ended[1]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def same(pair: tuple[Ended, Ended]) -> Ended:
    plain, traced = pair
    assert traced == plain
    return plain


CAPTURE = pytest.mark.parametrize("options", [(), ("--no-capture",)], ids=["packets", "calls"])


@CAPTURE
@pytest.mark.parametrize(
    "harm",
    [
        "import shutil; shutil.rmtree(FOLDER, ignore_errors=True)",
        "import shutil; shutil.rmtree(FOLDER, ignore_errors=True); open(FOLDER, 'w').close()",
        "import shutil; shutil.rmtree(FOLDER, ignore_errors=True); "
        "os.symlink(os.path.dirname(FOLDER) + '/strange', FOLDER)",
        "os.path.isdir(FOLDER) and os.rename(FOLDER, FOLDER + '-away')",
        "for n in os.path.isdir(FOLDER) and os.listdir(FOLDER) or (): os.unlink(FOLDER + '/' + n)",
    ],
    ids=["removed", "file", "link", "renamed", "emptied"],
)
def test_the_folder_is_harmed_while_the_program_runs(
    both: Both, harm: str, options: tuple[str, ...]
) -> None:
    strange = both.folder / "strange"
    strange.mkdir()
    (strange / "trace.json").write_text("somebody's")

    def ready() -> None:
        for path in both.folder.glob("trace*"):
            if path.is_symlink() or path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path)

    then = "talk(); os.fork() or (talk(), os._exit(0)); os.wait(); print('done'); sys.exit(7)"
    ended = same(both.run(f"{harm}\n{then}", *options, ready=ready))
    assert ended.status == 7
    assert ended.output == "done\n"
    assert all(len(line) < 300 for line in both.ours)
    assert [path.read_text() for path in strange.iterdir()] == ["somebody's"]


def disk(size: str) -> tuple[str, ...]:
    """A command that runs another with a disk of its own, full but for `size`, at ./trace."""
    if lacking():
        pytest.skip(lacking())
    script = f'mkdir -p trace && mount -t tmpfs -o size={size},mode=700 none trace && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


@CAPTURE
@pytest.mark.parametrize("size", ["4k", "64k", "1m"])
def test_a_small_disk(both: Both, size: str, options: tuple[str, ...]) -> None:
    text = "for _ in range(300): talk()\nprint('done'); sys.exit(3)"
    ended = same(both.run(text, *options, under=disk(size), cwd=both.folder))
    assert (ended.status, ended.output) == (3, "done\n")
    assert both.ours or size == "1m"


@CAPTURE
def test_a_full_disk_does_not_keep_the_program_from_starting(
    both: Both, options: tuple[str, ...]
) -> None:
    script = (
        "mkdir -p trace && mount -t tmpfs -o size=8k,nr_inodes=3,mode=700 none trace && "
        'mkdir trace/in && (head -c 9000 /dev/zero > trace/filler || true) 2>/dev/null; exec "$@"'
    )
    if lacking():
        pytest.skip(lacking())
    both.trace = both.folder / "trace" / "in"
    under = ("unshare", "--mount", "sh", "-c", script, "sh")
    ended = same(both.run("print('done')", *options, under=under, cwd=both.folder))
    assert ended.output == "done\n"
    assert both.ours


@CAPTURE
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-", ">/dev/full"])
def test_standard_descriptors_are_closed(both: Both, closed: str, options: tuple[str, ...]) -> None:
    told = both.folder / "told"
    text = (
        "talk()\nstate = [os.path.exists(f'/proc/self/fd/{n}') and "
        "os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in (0, 1, 2)]\n"
        f"open({str(told)!r}, 'a').write(f'{{state}}\\n')\nprint('x', end='')\nsys.exit(4)"
    )
    under = ("sh", "-c", f'"$@" {closed}', "sh")
    plain, traced = both.run(text, *options, under=under)
    assert (traced.status, traced.output) == (plain.status, plain.output)
    first, second = told.read_text().splitlines()
    assert first == second


@CAPTURE
def test_our_lines_do_not_matter_where_nobody_reads_them(
    both: Both, options: tuple[str, ...]
) -> None:
    """Standard error is full or its reader has gone, when there is something to be said."""
    for errors in ("/dev/full", ">(true)"):
        under = ("bash", "-c", f'"$@" 2> {errors}', "bash")
        plain, traced = both.run(
            "import shutil; shutil.rmtree(FOLDER, ignore_errors=True); sys.exit(5)",
            *options,
            under=under,
        )
        assert traced == plain
        assert plain.status == 5


@CAPTURE
def test_sigchld_is_ignored(both: Both, options: tuple[str, ...]) -> None:
    """The kernel then forgets how children end: ours told 0."""
    ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    code = f"import os, signal, sys; {ignored}; os.execv(sys.argv[1], sys.argv[1:])"
    under = (sys.executable, "-c", code)
    ended = same(
        both.run(
            "print(signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN)\nsys.exit(9)",
            *options,
            under=under,
        )
    )
    assert ended.status == 9
    assert ended.output == "True\n"


@CAPTURE
@pytest.mark.parametrize("name", ["INT", "HUP", "QUIT", "TERM", "TSTP", "USR1", "PIPE"])
def test_inherited_dispositions(both: Both, name: str, options: tuple[str, ...]) -> None:
    under = ("sh", "-c", f"trap '' {name}; exec \"$@\"", "sh")
    text = (
        "print([l for l in open('/proc/self/status') if l[:6] in ('SigIgn', 'SigBlk', 'SigCgt')])"
    )
    same(both.run(text, *options, under=under))


@CAPTURE
@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("ulimit -n 12", "print(len(os.listdir('/proc/self/fd')))"),
        ("ulimit -n 40", "print('x')"),
        ("ulimit -f 1", "print('x')"),
        ("ulimit -f 0", "print('x')"),
        ("umask 777", "print(oct(os.umask(0)))"),
        ("umask 0", "print(oct(os.umask(0)))"),
        ("ulimit -c 0; ulimit -t 50", "import resource as r; print(r.getrlimit(r.RLIMIT_CPU))"),
        ("export ODD=$(printf '\\377\\001')", "print(os.environb[b'ODD'])"),
    ],
)
def test_limits_and_environment(
    both: Both, limit: str, text: str, options: tuple[str, ...]
) -> None:
    under = ("sh", "-c", f'{limit}; exec "$@"', "sh")
    ended = same(both.run(text + "\nsys.exit(6)", *options, under=under))
    assert ended.status == 6


@CAPTURE
def test_no_second_process(both: Both, options: tuple[str, ...]) -> None:
    """The program takes our place then, as it would have had it without us."""
    failing = (
        "import subprocess, sys\n"
        "def popen(*a, **k): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "subprocess.Popen = popen\n"
        "from sockfsm.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    program = both.folder / "program.py"
    program.write_text(TALK + "print('done'); sys.exit(8)")
    command = [sys.executable, "-c", failing, "run", *options, "-o", str(both.trace), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (8, "done\n")
    (line,) = done.stderr.splitlines()[-1:]
    assert "takes ours" in line
    assert any(call.method == "accept" for call in Trace.open(both.trace).calls())


@CAPTURE
def test_the_working_directory_is_gone(both: Both, options: tuple[str, ...]) -> None:
    under = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
    ended = same(both.run("sys.exit(2)", *options, under=under, cwd=both.folder))
    assert ended.status == 2


@CAPTURE
def test_a_program_that_leaves_its_session_and_goes_on(
    both: Both, options: tuple[str, ...]
) -> None:
    """A daemon: the run ends with its first process, the second one goes on."""
    text = (
        "read, write = os.pipe()\n"
        "if os.fork():\n    os.close(write); print(os.read(read, 9)); sys.exit(3)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "talk(); os.write(write, b'daemon'); os._exit(0)"
    )
    ended = same(both.run(text, *options))
    assert (ended.status, ended.output) == (3, "b'daemon'\n")


@CAPTURE
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGPROF, signal.SIGRTMIN]
)
def test_signals_sent_to_us_reach_the_program(
    tmp_path: Path, number: int, options: tuple[str, ...]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(41))\n"
        "print('ready', flush=True)\nwhile True: signal.pause()"
    )
    command = [
        sys.executable,
        "-m",
        "sockfsm",
        "run",
        *options,
        "-o",
        str(tmp_path / "t"),
        str(program),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 41


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_killing_us_kills_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal\nprint(os.getpid(), flush=True)\nwhile True: signal.pause()"
    )
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(tmp_path / "trace"), str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        watched = os.pidfd_open(pid)
        process.kill()
        process.wait()
        # Without the mend nobody ends it, and this waits until the test's own limit.
        os.set_blocking(watched, True)
        import select

        poll = select.poll()
        poll.register(watched, select.POLLIN)
        ended = poll.poll(PATIENCE * 1000)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        os.close(watched)
    assert ended


JOB = """
import os, pty, select, signal, subprocess, sys, termios, time
command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    # A shell with job control: it gives the job its own group and the terminal.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(command[0], command)
    for word in ("stopped", "again"):
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                break
            print("ended", status, flush=True); os._exit(1)
        os.tcsetpgrp(0, os.getpgrp())
        print("shell:", word, flush=True)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
    _, status = os.waitpid(job, 0)
    os.tcsetpgrp(0, os.getpgrp())
    print("shell: ended", os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)
seen = b""
def expect(text):
    global seen
    while text not in seen:
        try:
            seen += os.read(terminal, 1000)
        except OSError:
            break
    assert text in seen, seen
    seen = seen[seen.index(text) + len(text):]
expect(b"ready")
os.write(terminal, b"\\x1a")
expect(b"shell: stopped")
expect(b"continued 1")
os.write(terminal, b"\\x1a")
expect(b"shell: again")
expect(b"continued 2")
os.write(terminal, b"\\x03")
expect(b"shell: ended 12")
os.waitpid(pid, 0)
"""


@CAPTURE
def test_job_control(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Ctrl-Z stops us with the program, `fg` continues both; it gets each signal once."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "count = 0\n"
        "def go_on(*_):\n"
        "    global count\n"
        # Not print(): the signal may come in the midst of another.
        "    count += 1; os.write(1, b'continued %d\\n' % count)\n"
        "def interrupt(*_):\n"
        "    sys.exit(10 + count)\n"
        "signal.signal(signal.SIGCONT, go_on)\n"
        "signal.signal(signal.SIGINT, interrupt)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)\n"  # pause(2) would miss a signal that comes just before it
    )
    sockfsm = [sys.executable, "-m", "sockfsm", "run", *options, "-o", str(tmp_path / "trace")]
    for command in ([sys.executable], sockfsm):
        done = subprocess.run(
            [sys.executable, "-c", JOB, *command, program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
