"""Runs suites in parallel, remembers what is done, and reports progress."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from sockfsm.conform import encrypted
from sockfsm.conform.compare import Share, compare, prefixes
from sockfsm.conform.encrypted import encrypt
from sockfsm.conform.overlapping import overlap
from sockfsm.conform.ramble import Fault, kinds, ramble
from sockfsm.conform.suites import Suite
from sockfsm.conform.traced import tracing
from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS, table_of

Progress = Callable[[int, int, str], None]
_Item = tuple[Suite, tuple[str, ...]]
"""Hears (shares done, shares altogether, the suite's title)."""


class Memory:
    """The shares that are done, in a file of JSON lines, so that an interrupted run can go on.

    The first line names the kernel and the machines; a file for others is refused. An incomplete last
    line is dropped. UsageError for a file of another format, or one that cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._done: dict[tuple[str, int, tuple[str, ...]], Share] = {}
        if self._path is not None:
            self._load(self._path)

    def _load(self, path: Path) -> None:
        from sockfsm.conform import progress

        ours = {"kernel": platform.release(), "machines": _digest()}
        try:
            whole = path.read_bytes() if path.exists() else b""
            lines = whole[: whole.rfind(b"\n") + 1].splitlines()
            if not lines:
                path.write_text(json.dumps(ours) + "\n", encoding="utf-8")
                return
            if progress.head(lines[0]) != progress.Scope(**ours):
                raise UsageError(
                    f"{path} was made for another kernel or other machines: remove it to begin anew"
                )
            for line in lines[1:]:
                place, share = progress.share(line)
                self._done[place] = share
            with path.open("r+b") as file:
                file.truncate(len(b"".join(line + b"\n" for line in lines)))
        except OSError as error:
            raise UsageError(f"cannot keep progress in {path}: {error.strerror}") from error
        except ValueError as error:
            raise UsageError(f"{path} is no progress file of sockfsm conform: {error}") from error

    def get(self, suite: Suite, depth: int, prefix: tuple[str, ...]) -> Share | None:
        """The share, if it was done before."""
        return self._done.get((suite.title, depth, prefix))

    def put(self, suite: Suite, depth: int, prefix: tuple[str, ...], share: Share) -> None:
        """Remember a share, and write it to disk at once."""
        if self._path is None:
            return
        entry = {
            "suite": suite.title,
            "depth": depth,
            "prefix": prefix,
            "figures": (share.sequences, share.outcomes, share.facts),
            "disagreements": [
                (d.calls, d.state, d.what, d.model, d.kernel) for d in share.disagreements
            ],
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _digest() -> str:
    """A hash of the machines, the same in every process."""
    text = []
    for kind in KINDS:
        for entry in table_of(kind).rules:
            conditions = [
                (c.name, sorted(c.values), c.negated) for c in (*entry.when, *entry.given)
            ]
            text.append(f"{entry.call} {conditions} {entry.outcome} {sorted(entry.then.items())}")
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _pool(stack: ExitStack, processes: int) -> ProcessPoolExecutor:
    # spawn: the program that calls us may have threads, which fork() does not carry over.
    pool = stack.enter_context(ProcessPoolExecutor(processes, get_context("spawn")))
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


_PORTION = 500
TRACED, ENFORCE, THREADS, TLS = WAYS = ("traced", "enforce", "threads", "tls")
"""How random sequences are run: traced, and compared with what the tracer says; in enforce mode, where
the kernel must refuse what is stopped; by two threads at a time; over TLS. All are traced."""


def run_random(
    kind: str,
    number: int,
    seed: int,
    *,
    jobs: int = 0,
    way: str = "",
    progress: Progress | None = None,
) -> list[Fault]:
    """Run `number` random sequences of a kind, or of all kinds together for ''; returns the faults.

    way: one of WAYS, or '' for untraced. UsageError if the number is below 1, the kind cannot be run in
    this way, or the kernel refuses the scene.
    """
    if number < 1:
        raise UsageError(f"--random {number}: give at least 1")
    chosen = tuple(k for k in kinds(kind) if way != TLS or k in encrypted.KINDS)
    if not chosen:
        raise UsageError(f"there is no TLS over {kind}")
    each = -(-number // len(chosen))
    todo = [
        (name, range(begin, min(begin + _PORTION, each)))
        for begin in range(0, each, _PORTION)
        for name in chosen
    ]
    base = os.getpid() % 200 * 250
    found: list[Fault] = []
    with ExitStack() as stack:
        processes = min(jobs or os.cpu_count() or 1, len(todo))
        pool = _pool(stack, processes) if processes > 1 else None
        lanes = itertools.cycle(range(base, base + 250))
        jobs_ = [(name, seed, numbers, next(lanes), way) for name, numbers in todo]
        results = pool.map(_rambled, jobs_) if pool else map(_rambled, jobs_)
        for done, (job, faults) in enumerate(zip(jobs_, results, strict=True), 1):
            found += faults
            if progress is not None:
                progress(done, len(todo), f"{job[0]}, random")
    return found


def _rambled(job: tuple[str, int, range, int, str]) -> list[Fault]:
    name, seed, numbers, lane, way = job
    if not way:
        return list(ramble(name, seed, numbers, lane))
    with tracing(way == ENFORCE) as tracer:
        drive = {THREADS: overlap, TLS: encrypt}.get(way, ramble)
        found = list(drive(name, seed, numbers, lane, tracer))
    unexplained = (
        Fault(name, seed, numbers.start, (), f"no rule explains {call.method} = {call.outcome}")
        for call in tracer.unexplained()
    )
    return found or list(itertools.islice(unexplained, 1))


def run(
    chosen: Iterable[Suite],
    depth: int,
    *,
    jobs: int = 0,
    memory: str | None = None,
    traced: bool = False,
    progress: Progress | None = None,
) -> dict[str, Share]:
    """Compare the suites up to `depth` calls. Returns title -> what was found.

    jobs: processes at a time, 0 for one per processor. memory: the file that keeps the progress.
    traced: trace the sockets, and compare what the tracer says.
    UsageError if the depth is below 1, the file does not fit, or the kernel refuses the bench.
    """
    if depth < 1:
        raise UsageError(f"depth {depth}: give at least 1, it counts calls")
    remembered = Memory(memory)
    results: dict[str, Share] = {}
    todo: list[_Item] = []
    for suite in chosen:
        results[suite.title] = Share()
        for prefix in prefixes(suite, depth):
            known = remembered.get(suite, depth, prefix)
            if known is None:
                todo.append((suite, prefix))
            else:
                results[suite.title].join(known)
    processes = min(jobs or os.cpu_count() or 1, len(todo))
    compared = _compared_by(processes, todo, depth, traced)
    for number, (suite, prefix, share) in enumerate(compared, 1):
        remembered.put(suite, depth, prefix, share)
        results[suite.title].join(share)
        if progress is not None:
            progress(number, len(todo), suite.title)
    return results


def _compared_by(
    processes: int, todo: list[_Item], depth: int, traced: bool
) -> Iterator[tuple[Suite, tuple[str, ...], Share]]:
    """Yield each item with what was found, in the order in which they are done."""
    base = os.getpid() % 200 * 250
    if processes <= 1:
        for suite, prefix in todo:
            yield suite, prefix, compare(suite.title, depth, prefix, base, traced)
        return
    with ExitStack() as stack:
        pool = _pool(stack, processes)
        waiting: dict[Future[Share], _Item] = {}
        queue = iter(enumerate(todo))
        while True:
            for index, item in itertools.islice(queue, 2 * processes - len(waiting)):
                suite, prefix = item
                lane = base + index % 250
                waiting[pool.submit(compare, suite.title, depth, prefix, lane, traced)] = item
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield *waiting.pop(future), future.result()
