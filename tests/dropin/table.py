"""`make dropin`: everything plain and traced, with a table as the result.

    python tests/dropin/table.py [SUITE ...]

DROPIN=all: the long form; SOAK=seconds of the soak test, as long as the rest takes if it is short.

Exit status 1 when something differs that `known.py` does not explain, when a call is unexplained, or
when a record is lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import suites
from differ import Difference, compare, differences, program
from known import unexplained
from suites import Suite

LONG = os.environ.get("DROPIN") == "all"
PATIENCE = 3600 if LONG else 900
LISTED = 12
UNSEEN = "this trace does not show them"
"""How a line ends that tells of sockets in C, which nobody has lost: uvloop's."""
ROOT = Path(__file__).parents[2]
LONG_RUNS = {
    "every call once (sidelog)": ["tests/sidelog.py", "5"],
    "damaged input (fuzz)": ["tests/fuzz.py", "1000000" if LONG else "20000", "--seed", "7"],
    "random calls (conform)": [
        *("-m", "sockfsm", "conform", "--random", "100000" if LONG else "5000"),
        *("--seed", "7"),
    ],
}
"""The long forms of other tests: name -> arguments of our Python."""


@dataclass
class Row:
    """One line of the table, and what is to be told below it."""

    name: str
    tests: int = 0
    different: list[str] = field(default_factory=list)
    plain: float = 0
    traced: float = 0
    strange: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is to be mended."""
        return bool(self.tests) and not (self.different or self.strange or self.lost)

    def __str__(self) -> str:
        counts = f"{self.tests:7,} {self.tests - len(self.different):7,} {len(self.different):9,}"
        seconds = f"{self.plain:8.1f} {self.traced:8.1f}"
        return f"{self.name:28} {counts} {seconds} {sum(self.strange.values()):11,} {len(self.lost):5,}"


HEAD = (
    f"{'suite':28} {'tests':>7} {'same':>7} {'different':>9} {'plain s':>8} {'traced s':>8}"
    " unexplained  lost"
)


def results(path: Path) -> dict[str, str]:
    """Test -> what came of it."""
    if not path.exists():
        return {}
    text = path.read_text(errors="replace")
    if not text.startswith("<"):
        return dict(line.split(" -> ", 1) for line in text.splitlines())
    found: dict[str, str] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        told = [
            f"{e.tag} {(e.get('message') or '')[:60]}" if e.tag == "skipped" else e.tag
            for e in case
        ]
        told = [each for each in told if each.split()[0] in ("failure", "error", "skipped")]
        found[name] = "; ".join(told) or "ok"
    return found


def run(suite: Suite, *prefix: str) -> tuple[dict[str, str], float]:
    """One run of a suite: its results, its seconds."""
    with tempfile.TemporaryDirectory() as temporary, _redis(suite, temporary) as port:
        path = Path(temporary, "results")
        began = time.monotonic()
        process = subprocess.Popen(
            [*prefix, *suites.command(suite, path, LONG, port)],
            cwd=suites.place(suite),
            env={**suites.environment(suite), "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return results(path), time.monotonic() - began


@contextlib.contextmanager
def _redis(suite: Suite, folder: str) -> Iterator[int]:
    """A redis-server's port, 0 where none is needed."""
    if not suite.server:
        yield 0
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        "redis-server",
        "--port",
        str(port),
        "--save",
        "",
        "--dir",
        folder,
        "--databases",
        "16",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert server.poll() is None, "redis-server ended"
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def one(suite: Suite) -> Row:
    """A suite plain, traced, and plain again where that differs, to leave out what is unsteady."""
    row = Row(suite.name)
    folder = Path(tempfile.mkdtemp(prefix="dropin-"))
    folder.rmdir()
    first, row.plain = run(suite)
    under = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder)]
    traced, row.traced = run(suite, *under)
    found = compare(first, traced)
    if found:
        again, _ = run(suite)
        unsteady = {each.case for each in compare(first, again)}
        found = [each for each in found if each.case not in unsteady]
    row.tests, row.different = len(first), list(map(str, found))
    look_into(folder, row)
    shutil.rmtree(folder, ignore_errors=True)
    return row


def look_into(folder: Path, row: Row) -> None:
    """Count the unexplained calls of a trace, and what it says it lost."""
    from sockfsm.errors import SockfsmError
    from sockfsm.trace.trace import Trace

    try:
        trace = Trace.open(folder)
        for call in trace.calls():
            if not call.explained and call.socket is not None:
                row.strange[
                    f"{call.socket.kind} {call.before}: {call.method} = {call.outcome}"
                ] += 1
        row.lost += [line for line in map(str, trace.problems) if not line.endswith(UNSEEN)]
    except SockfsmError as error:
        row.lost.append(str(error))


def ours() -> list[Row]:
    """Our own programs: every argument, everything that is seen, every surrounding."""
    every: list[tuple[str, ...]] = [
        ("arguments", kind, mode)
        for kind in ("tcp", "udp", "unix-stream", "unix-dgram")
        for mode in ("blocking", "timeout", "nonblocking")
    ]
    every += [
        ("arguments", "tcp", mode, cls)
        for cls in ("Logged", "Override")
        for mode in ("blocking", "nonblocking")
    ]
    every += [("functions",), ("seen",)]
    sys.path.append(str(Path(__file__).parent / "programs"))
    import surroundings

    every += [("surroundings", name) for name in surroundings.NAMES]
    rows: dict[str, Row] = {}
    for name, *arguments in every:
        row = rows.setdefault(name, Row(name))
        began = time.monotonic()
        command = program(name, *arguments)
        if name == "surroundings" and arguments[0] in surroundings.INSTALLED:
            command[0] = suites.python()
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            found: list[Difference] = unexplained(differences(command, Path(folder, "trace")))
        row.different += [f"{' '.join(arguments)}: {each}" for each in found]
        row.tests += 1
        row.traced += time.monotonic() - began
    return list(rows.values())


def long_run(name: str) -> Row:
    """One of the long runs; what it said is shown when it fails."""
    command, began = LONG_RUNS[name], time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    bad = [done.stdout[-500:] + done.stderr[-500:]] if done.returncode else []
    return Row(name, 1, bad, 0, time.monotonic() - began)


def soak() -> Row:
    """The soak test, in a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "soak.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, end="")
    bad = [done.stdout[-500:] + done.stderr[-500:]] if done.returncode else []
    return Row("soak", 1, bad, 0, time.monotonic() - began)


def main(*names: str) -> int:
    """All of it, or the suites named."""
    chosen = [suite for suite in suites.SUITES if not names or suite.name in names]
    suites.CACHE.mkdir(exist_ok=True)
    if any(suite.package for suite in chosen):
        suites.prepare(suites.CACHE / "install.log")
    print(HEAD, flush=True)
    rows: list[Row] = []
    # One more than there are cores: the soak test sleeps most of its time.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as pool:
        jobs = [pool.submit(soak)] if not names or "soak" in names else []
        running = pool.map(one, chosen)
        for row in running:
            rows.append(row)
            print(row, flush=True)
        rows += [job.result() for job in jobs]
    if not names or "long" in names:
        rows += map(long_run, LONG_RUNS)
    if not names or "ours" in names:
        rows += ours()
    for row in rows[len(chosen) :]:
        print(row, flush=True)
    bad = [row for row in rows if not row.good]
    for row in bad:
        tell(row)
    print(f"{len(rows) - len(bad)} of {len(rows)} are the same plain and traced")
    return int(bool(bad))


def tell(row: Row) -> None:
    """What is to be mended of a suite."""
    print(f"\n== {row.name}" + ("" if row.tests else ": no test ran"))
    for text in row.different[:LISTED]:
        print(text[:600])
    for what, count in row.strange.most_common(LISTED):
        print(f"unexplained {count:6,}  {what}")
    for text in row.lost[:LISTED]:
        print(f"lost: {text}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
