"""Every reader and every command on damaged input, in this process: `run(size, seed)`.

    python tests/fuzz.py 1000000 --seed 7

No input may give a traceback, hang, or take memory without bound; what a command prints has nothing
that acts on a terminal; JSON is JSON. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from damage import Files, spoil, spoil_bytes, spoil_file, spoil_pack

from sockfsm.cli.main import main
from sockfsm.errors import SockfsmError

TRACES = Path(__file__).parent.parent / "traces"
SMALL = ("simultaneous", "tcp-echo", "udp-echo", "unix-stale-path", "wrong-order")
LONGEST = 10  # seconds of the processor that one input may take
ASLEEP = 120  # seconds by the clock: only who waits for ever takes so long
MEMORY = 3 << 30  # bytes that all of them together may add
COMMANDS_EVERY = 80
FAILURES_KEPT = 20

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show",),
    ("show", "--list"),
    ("show", "--json"),
    ("handshake",),
    ("handshake", "--json"),
    ("blocked",),
    ("lint",),
    ("lint", "--json"),
    ("diagram",),
    ("diagram", "--format", "mmd", "--full"),
    ("export", "--form", "pcapng"),
    ("export", "--form", "perfetto"),
    ("export", "--form", "csv"),
    ("export", "--form", "jsonl"),
    ("export", "--form", "mermaid"),
)


class Failure(NamedTuple):
    """What went wrong, and the input's number, with which `one` makes it again."""

    number: int
    target: str
    what: str


class TookTooLong(BaseException):
    """An input that never ends."""


def seeds() -> dict[str, Files]:
    """name -> the files of a recorded trace."""
    return {
        name: {
            path.name: path.read_bytes()
            for path in sorted((TRACES / name).iterdir())
            if path.suffix in (".calls", ".pcapng", ".json", ".jsonl")
        }
        for name in SMALL
    }


def written(folder: Path, files: Files) -> Path:
    """The trace on disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


# -- readers -------------------------------------------------------------------------------


def _read_log(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.record.logs import LogFiles
    from sockfsm.trace.decode import decode, head

    name = next(name for name in files if name.endswith(".calls"))
    path = folder / "1-0.calls"
    path.write_bytes(spoil_file(name, files[name], chance))
    problems: list[str] = []
    log = LogFiles(path.name, (path,))
    decoder, calls = decode(log, {}, problems)
    for call in calls:
        if not (isinstance(call.method, str) and isinstance(call.before, str)):
            raise TypeError(call)
    head(log)
    for wait in decoder.blocked:
        str(wait.site)


def _read_trace(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.trace.trace import Trace

    trace = Trace.open(written(folder / "trace", spoil(files, chance)))
    trace.summary(index=True)
    trace.waits(), trace.blocked(), trace.kernel_states()
    for _ in trace.packets():
        pass


def _read_capture(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.wire.handshake import inspect_file

    path = folder / "packets.pcapng"
    data = files.get("packets.pcapng")
    if data is None:
        return
    path.write_bytes(spoil_file("packets.pcapng", data, chance))
    inspect_file(path, [])


def _read_kernel_states(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.trace.kernel_paths import KernelPaths
    from sockfsm.wire.kernel_record import read
    from sockfsm.wire.kernel_states import with_ports

    name = "tcp-states.jsonl"
    if name not in files:
        return
    (folder / name).write_bytes(spoil_file(name, files[name], chance))
    states = read(folder / name, [])
    with_ports(states)
    KernelPaths(states)


def _read_about(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.trace.trace import Trace

    (folder / "trace.json").write_bytes(spoil_file("trace.json", files["trace.json"], chance))
    trace = Trace(folder)
    if not isinstance(trace.clock_error, int):
        raise TypeError(trace.clock_error)


def _read_pack(files: Files, folder: Path, chance: random.Random) -> None:
    from sockfsm.record.packs import pack
    from sockfsm.trace.trace import Trace

    logs = [folder / name for name in files if name.endswith(".calls")]
    for log in logs:
        log.write_bytes(files[log.name])
    inside = folder / "trace"
    written(inside, {"dropped.json": spoil_bytes(b'{"processes": 2, "calls": 7}', chance)})
    path = inside / "old.packed"
    pack(path, logs)
    data = path.read_bytes()
    if chance.random() < 0.5:
        path.write_bytes(spoil_bytes(data, chance))
    else:
        path.write_bytes(gzip.compress(spoil_pack(gzip.decompress(data), chance), 1))
    trace = Trace(inside)
    trace.summary()


READERS: dict[str, tuple[int, Callable[[Files, Path, random.Random], None]]] = {
    "log": (8, _read_log),
    "capture": (5, _read_capture),
    "kernel states": (3, _read_kernel_states),
    "about": (2, _read_about),
    "trace": (1, _read_trace),
    "pack": (1, _read_pack),
}
"""name -> (how many of the inputs, by weight; what reads one)."""


# -- commands ------------------------------------------------------------------------------


def command(words: tuple[str, ...], folder: Path) -> str:
    """Run one on a folder; what is wrong with what it printed, '' when nothing is."""
    printed, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(printed, encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*words, str(folder)])
        out.flush()
    return complaint(words, status, printed.getvalue(), err.getvalue())


def complaint(words: tuple[str, ...], status: int, printed: bytes, errors: str) -> str:
    """What is wrong with a command's output, '' when nothing is."""
    if status not in (0, 1, 2):
        return f"status {status}"
    if status == 2 and (errors.count("\n") != 1 or not errors.startswith("sockfsm: ")):
        return f"status 2 and not one line: {errors!r}"
    if not all(line.isprintable() for line in errors.split("\n")):
        return f"stderr acts on the terminal: {errors!r}"
    if "pcapng" in words or status == 2:
        return ""
    text = printed.decode("utf-8", "surrogateescape")
    if "csv" not in words:  # a cell may have an end of line, in quotes
        # Graphviz indents with tabs.
        acting = [line for line in text.split("\n") if not line.lstrip("\t").isprintable()]
        if acting:
            return f"acts on the terminal: {acting[0]!r}"
    elif not all(letter.isprintable() or letter == "\n" for letter in text):
        return "a cell acts on the terminal"
    return _json_complaint(words, text)


def _json_complaint(words: tuple[str, ...], text: str) -> str:
    def never(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    whole = "perfetto" in words or words[:2] == ("handshake", "--json")
    lines = [text] if whole else text.splitlines() if {"--json", "jsonl"} & {*words} else []
    for line in lines:
        try:
            json.loads(line, parse_constant=never)
        except ValueError as error:
            return f"{error}: {line[:200]!r}"
    return ""


# -- running -------------------------------------------------------------------------------


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Time for each input, memory for all."""

    def late(*_: object) -> None:
        raise TookTooLong

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handlers = [signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)]
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        for number, handler in zip((signal.SIGALRM, signal.SIGPROF), handlers, strict=True):
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def begin() -> None:
    """The next input's time begins."""
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    signal.setitimer(signal.ITIMER_REAL, ASLEEP)


def one(number: int, seed: int, traces: list[Files], folder: Path) -> Failure | None:
    """The input of that number."""
    chance = random.Random(seed * 1_000_003 + number)
    files = chance.choice(traces)
    task: Callable[[], str | None]
    said: str | None
    if number % COMMANDS_EVERY == 0:
        words = COMMANDS[number // COMMANDS_EVERY % len(COMMANDS)]
        target, task = " ".join(words), lambda: _run_command(words, files, folder, chance)
    else:
        (target,) = chance.choices([*READERS], [weight for weight, _ in READERS.values()])
        read = READERS[target][1]
        target, task = target, lambda: read(files, folder, chance)
    begin()
    try:
        said = task()
    except SockfsmError as error:
        said = None if str(error) else "an error without a word"
    except TookTooLong:
        said = "took too long"
    except BaseException:  # noqa: BLE001 - whatever it is, it is what we look for
        said = traceback.format_exc()
    return Failure(number, target, said) if said else None


def _run_command(words: tuple[str, ...], files: Files, folder: Path, chance: random.Random) -> str:
    return command(words, written(folder / "trace", spoil(files, chance)))


def run(size: int, seed: int = 1) -> list[Failure]:
    """Read that many damaged inputs; what failed, at most FAILURES_KEPT of it."""
    traces, failures = [*seeds().values()], []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # disks are slow, and wear
    with tempfile.TemporaryDirectory(dir=memory) as name, limits():
        for number in range(size):
            failure = one(number, seed, traces, Path(name))
            if failure is not None:
                failures.append(failure)
                if len(failures) >= FAILURES_KEPT:
                    break
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", type=int)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.monotonic()
    found = run(chosen.size, chosen.seed)
    for failure in found:
        print(f"input {failure.number}, {failure.target}:\n{failure.what}")
    print(dict(Counter(failure.target for failure in found)))
    print(f"{chosen.size:,} inputs, {len(found)} failures, {time.monotonic() - began:.1f} s")
    sys.exit(bool(found))
