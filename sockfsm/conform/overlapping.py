"""Two threads call on one socket at the same time.

The kernel does the calls in one order, and nobody outside sees in which. The tracer must consider both
orders possible, and one of the states that it considers possible must be what the kernel shows.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket

from sockfsm.conform.bench import BENCHES, outcome_of
from sockfsm.conform.circumstances import DEADLINE
from sockfsm.conform.ramble import Fault
from sockfsm.conform.scenes import Action
from sockfsm.conform.suites import WORDS
from sockfsm.conform.traced import UNTRACED, Tracer
from sockfsm.tracer.witness import facts, fits

_WORDS = (*(word for word in WORDS if word not in UNTRACED), "so_error")
_MODES = {"nonblocking": 0.0, "blocking": None, "timeout": 0.001}
_PAIRS = 3


class _Two:
    """Two threads that each begin a call at the same moment."""

    def __init__(self) -> None:
        self._start, self._end = threading.Barrier(3), threading.Barrier(3)
        self._work: list[Callable[[], object] | None] = [None, None]
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        while True:
            self._start.wait()
            work = self._work[index]
            if work is None:
                return
            outcome_of(work)
            self._end.wait()

    def do(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        self._work = [first, second]
        self._start.wait()
        self._end.wait()

    def stop(self) -> None:
        self._work = [None, None]
        self._start.wait()
        for thread in self._threads:
            thread.join()


@contextmanager
def _two() -> Iterator[_Two]:
    """Two threads, with the interpreter switching between them as often as possible."""
    two, before = _Two(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield two
    finally:
        sys.setswitchinterval(before)
        two.stop()


def overlap(kind: str, seed: int, numbers: range, lane: int, tracer: Tracer) -> Iterator[Fault]:
    """Run the sequences with these numbers: a call or two alone, then pairs at the same time."""
    with _two() as two, BENCHES[kind](lane) as bench:
        for number in numbers:
            luck = Random(f"{kind} {seed} {number} overlapping")
            sock, told = bench.begin(), []
            _wait(sock, luck.choice(tuple(_MODES)))
            for word in luck.choices(_WORDS, k=luck.randrange(3)):
                told.append(Action(word))
                outcome_of(bench.deed(sock, word))
            for _ in range(_PAIRS):
                left, right = luck.choices(_WORDS, k=2)
                told.append(Action(f"{left} || {right}"))
                two.do(bench.deed(sock, left), bench.deed(sock, right))
                if sock.fileno() >= 0 and not fits(sock, tracer.row(sock)):
                    what = f"{tracer.states(sock)} fits none of {facts(sock)}"
                    yield Fault(kind, seed, number, tuple(told), what)
                    break
            bench.dispose(sock)


def _wait(sock: socket, mode: str) -> None:
    sock.settimeout(_MODES[mode])
    for option in (SO_RCVTIMEO, SO_SNDTIMEO):
        sock.setsockopt(SOL_SOCKET, option, DEADLINE)
