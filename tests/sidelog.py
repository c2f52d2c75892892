"""Programs that number every call, and write the number to a side file when the call has returned.

The number is what `recv` asks for, so the trace has it too. Whatever happens to the program, each
number of the side files is in the trace once, or the trace says how many it lacks.

    python tests/sidelog.py [SIZE]      all of it, SIZE times as long as in the tests
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from errno import EINTR
from pathlib import Path

from patience import PATIENCE

from sockfsm.record.logs import all_logs, loss
from sockfsm.trace.trace import Trace

HEAD = """
import gc, itertools, os, signal, socket, sys, threading, time

class Numbered:
    def __init__(self, name, first):
        name = f"{os.environ.get('SIDES', '.')}/{name}.side"
        self.side = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.numbers = itertools.count(first)
    def call(self):
        number = next(self.numbers)
        self.near.send(b"x")
        self.far.recv(number)
        os.write(self.side, b"%d\\n" % number)
"""

STORM = """
main, inner = Numbered("main", 1), Numbered("handler", 1_000_001)
busy = False
def handler(*_):
    global busy
    if not busy:
        busy = True
        inner.call()
        busy = False
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
end = time.monotonic() + 600
while next(main.numbers) < CALLS and time.monotonic() < end:
    main.call()
signal.setitimer(signal.ITIMER_REAL, 0)
"""

THREADS = """
def work(n):
    mine = Numbered(f"thread-{n}", 1 + n * 200_000)
    for _ in range(CALLS):
        mine.call()
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

FOREVER = """
main = Numbered("main", 1)
print("ready", flush=True)
while True:
    main.call()
"""

FORKS = """
main = Numbered("main", 1)
for child in range(1, 5):
    main.call()
    if os.fork() == 0:
        mine = Numbered(f"child-{child}", child * 200_000)
        for _ in range(CALLS):
            mine.call()
        os._exit(0)
    for _ in range(100):
        main.call()
for _ in range(4):
    os.wait()
"""

FORK_STORM = """
if len(sys.argv) > 2:
    Numbered(f"exec-{sys.argv[2]}", int(sys.argv[2])).call()
    os._exit(0)
stop = []
def work(n):
    mine = Numbered(f"thread-{n}", 1 + n * 300_000)
    while not stop:
        mine.call()
        time.sleep(0.0005)
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for child in range(CALLS):
    if os.fork() == 0:
        mine = Numbered(f"child-{child}", 1_000_000 + 1_000 * child)
        mine.call()
        if child % 3 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if child % 3 == 1:
            number = 2_000_000 + child
            os.execv(sys.executable, [sys.executable, *sys.argv, str(number)])
        os._exit(0)
    os.wait()
stop.append(True)
for thread in threads: thread.join()
"""

FORK_IN_HANDLER = """
main, inner = Numbered("main", 1), Numbered("handler", 1_000_001)
left = iter(range(20))
done = []
def handler(*_):
    # A handler may come between the steps of another.
    number = next(left, None)
    if number is not None and os.getpid() == first:
        if os.fork() == 0:
            mine = Numbered(f"child-{number}", 2_000_000 + number * 1000)
            for _ in range(20):
                mine.call()
            os._exit(0)
        inner.call()
        os.wait()
        done.append(number)
first = os.getpid()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while len(done) < 20:
    main.call()
signal.setitimer(signal.ITIMER_REAL, 0)
"""

EXEC = """
turn = int(os.environ.get("TURN", 0))
main = Numbered(f"main-{turn}", 1 + turn * 100_000)
for _ in range(CALLS):
    main.call()
if turn < 3:
    os.environ["TURN"] = str(turn + 1)
    os.execv(sys.executable, [sys.executable, *sys.argv])
"""

INTERPRETERS = """
try:  # they share the interpreter lock, so that all of the standard library can be imported
    import _interpreters as interpreters
    def create(): return interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    def create(): return interpreters.create(isolated=False)
"""

SUBINTERPRETERS = (
    INTERPRETERS
    + """
main = Numbered("main", 1)
for n in range(1, 4):
    inner = create()
    text = HEAD + f'''
mine = Numbered("inner-{n}", {n} * 100_000)
for _ in range({CALLS}):
    mine.call()
'''
    interpreters.run_string(inner, text)
    main.call()
    interpreters.destroy(inner)
"""
)

GARBAGE = """
gc.set_threshold(1)
class Cycle:
    def __init__(self, numbered):
        self.me, self.numbered = self, numbered
    def __del__(self):
        self.numbered.call()
main, inner = Numbered("main", 1), Numbered("handler", 1_000_001)
for _ in range(CALLS):
    Cycle(inner)
    main.call()
gc.set_threshold(700)
gc.collect()
"""

RAISING = """
class Stop(Exception): pass
def handler(*_): raise Stop
main = Numbered("main", 1)
signal.signal(signal.SIGALRM, handler)
stops = 0
while stops < CALLS:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        while True:
            main.call()
    except Stop:
        stops += 1
left = 0
main.far.setblocking(False)
try:
    while True:
        os.read(main.far.fileno(), 1)  # no call of a socket
        left += 1
except BlockingIOError:
    with open(f"{os.environ.get('SIDES', '.')}/left", "w") as file:
        file.write(str(left))
"""

FEW_DESCRIPTORS = """
import resource
main = Numbered("main", 1)
for turn in range(3):
    for _ in range(CALLS):
        main.call()
    resource.setrlimit(resource.RLIMIT_NOFILE, (main.side + 1, 4096))
    for _ in range(CALLS):
        main.call()
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
    time.sleep(0.02)
main.call()
"""

SMALL_FILES = """
import resource
def died(*_): os.abort()
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
main = Numbered("main", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for _ in range(CALLS):
    main.call()
"""

FULL_DISK = """
main = Numbered("main", 1)
filler = open(os.path.dirname(sys.argv[1]) + "/filler", "wb", 0)
try:
    while True:
        filler.write(bytes(65536))
except OSError:
    filler.truncate(filler.tell() // 4096 * 4096)
for _ in range(CALLS):
    main.call()
filler.truncate(0)
time.sleep(0.02)  # so long at most it is not tried again
main.call()
"""

KILLED_WITHOUT_ROOM = """
import resource
main = Numbered("main", 1)
resource.setrlimit(resource.RLIMIT_NOFILE, (main.side + 1, 4096))
for _ in range(CALLS):
    main.call()
os.kill(os.getpid(), signal.SIGKILL)
"""

SOAK = """
import sockfsm
trace = sockfsm.install(sys.argv[1], max_size="2M", sinks=[lambda call: None])
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def disk():
    return sum(path.stat().st_blocks * 512 for path in trace.path.glob("*.calls"))
def use(near, far):
    near.send(b"x")
    far.recv(1)
    near.close()
    far.close()
half, most = 0, 0
for turn in range(CALLS):
    near, far = socket.socketpair()
    exec(compile("use(near, far)", f"generated-{turn}", "exec"))
    thread = threading.Thread(target=use, args=socket.socketpair(), name=f"thread-{turn}")
    thread.start()
    thread.join()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
        named.bind(f"\\0{os.getpid()}-{turn}")
    if turn % 1000 == 0:
        most = max(most, disk())
    if turn == CALLS // 2:
        half = resident()
print(resident() - half, most)
"""


@dataclass
class Found:
    """What a program's side files and its trace say of each other.

    noted: numbers in the side files. missing: those that the trace has not; double: has twice.
    lost: calls that it says it lacks; gone: those that it really lacks, the sends counted too.
    unmatched: the sends and receives of which only the other half is there.
    exits: sockets of which it has the end with the process.
    """

    noted: int
    missing: list[int]
    double: list[int]
    lost: int
    gone: int
    unmatched: int
    exits: int
    problems: list[str]
    trace: Trace

    def whole(self, raising: bool = False) -> None:
        """Assert that every call is there once that the program knows of.

        raising: its handler raises. Where that came between the kernel's answer and the program, the
        trace may lack that call, and says so.
        """
        assert self.noted > 0
        assert (self.missing[:5], self.double[:5]) == ([], [])
        if not raising:
            assert (self.lost, self.problems) == (0, [])
            return
        assert all(line.endswith(os.strerror(EINTR)) for line in self.problems)
        assert bool(self.problems) == bool(self.lost)
        assert self.unmatched <= self.lost


def compare(folder: Path) -> Found:
    """Read both."""
    noted: Counter[int] = Counter()
    for side in Path(os.environ.get("SIDES", folder)).glob("*.side"):
        noted.update(int(line) for line in side.read_bytes().split(b"\n")[:-1])
    trace = Trace.open(folder / "trace")
    ok = [call for call in trace.calls() if call.outcome == "ok"]
    told = Counter(call.asked for call in ok if call.call == "recv")
    lost = sum(its.calls + its.orphans for log in all_logs(trace.path, []) if (its := loss(log)))
    missing = sorted((noted - told).elements())
    double = sorted(number for number, times in told.items() if times > 1)
    # Beside each recv there is a send.
    sent = sum(call.call == "send" for call in ok)
    gone = 2 * noted.total() - sent - told.total()
    left = Path(os.environ.get("SIDES", folder)) / "left"
    unmatched = abs(sent - told.total() - (int(left.read_text()) if left.exists() else 0))
    exits = sum(1 for call in trace.calls() if call.call == "exit")
    counts = lost, gone, unmatched, exits
    return Found(noted.total(), missing, double, *counts, trace.problems, trace)


def program(folder: Path, text: str, calls: int) -> list[str]:
    """The command that runs a program traced in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(f"HEAD = {HEAD!r}\nexec(HEAD)\nCALLS = {calls}\n{text}")
    traced = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder / "trace")]
    return [*traced, str(folder / "program.py"), str(folder / "trace")]


def run(folder: Path, text: str, calls: int, status: int = 0) -> tuple[Found, str]:
    """Run it to its end; what is to be compared, and what it wrote to standard error."""
    command = program(folder, text, calls)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == status, done.stdout + done.stderr
    return compare(folder), done.stderr


def kill(folder: Path, seconds: float) -> Found:
    """Kill a program that never ends, at some moment."""
    process = subprocess.Popen(
        program(folder, FOREVER, 0), cwd=folder, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return compare(folder)


def soak(folder: Path, turns: int) -> tuple[int, int]:
    """Traced without a supervisor, with sockets, threads, places and names that are always new.

    (bytes of memory that the second half of the turns added, the most bytes that the logs took).
    """
    folder.mkdir(exist_ok=True)
    (folder / "soak.py").write_text(f"{HEAD}CALLS = {turns}\n{SOAK}")
    done = subprocess.run(
        [sys.executable, str(folder / "soak.py"), str(folder / "trace")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    grown, disk = map(int, done.stdout.split())
    return grown, disk


WHOLE = {
    "storm": (STORM, 40_000),
    "threads": (THREADS, 5_000),
    "forks": (FORKS, 3_000),
    "fork-in-handler": (FORK_IN_HANDLER, 0),
    "exec": (EXEC, 3_000),
    "subinterpreters": (SUBINTERPRETERS, 3_000),
    "garbage": (GARBAGE, 3_000),
    "raising": (RAISING, 300),
}
"""Name -> (program, calls): none of them may lose a call."""


def everything(folder: Path, size: int = 1) -> list[str]:
    """All of it, `size` times as long; one line for each program."""
    lines = []
    for name, (text, calls) in WHOLE.items():
        found, _ = run(folder / name, text, calls * size)
        found.whole(name == "raising")
        lines.append(f"{name}: {found.noted:,} calls, none missing or double")
    chance, noted = random.Random(size), 0
    for turn in range(10 * size):
        found = kill(folder / f"kill-{turn}", chance.random() / 2)
        found.whole()
        noted += found.noted
    lines.append(f"kills: {10 * size}, {noted:,} calls, none missing or double")
    return lines


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(*everything(Path(place), int(sys.argv[1]) if len(sys.argv) > 1 else 1), sep="\n")
