"""Runs L* on the running kernel. The only module that imports AALpy."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

from sockfsm.conform.bench import BENCHES, Bench
from sockfsm.conform.suites import WORDS
from sockfsm.errors import UsageError
from sockfsm.learn.mealy import Mealy, compare
from sockfsm.model.predict import Predictor

# How many random walks test each state of a hypothesis, and how many calls each walk makes.
_WALKS, _LENGTH = 100, 8


def learn(kind: str, *, calls: tuple[str, ...] = WORDS, seed: int = 1) -> Mealy:
    """Learn the machine that the kernel implements for `kind` in the reference environment.

    Takes a few seconds. Only the kernel answers queries. A hypothesis is tested by random walks from
    each of its states, and then by the shortest sequence on which our model differs from it. If the
    kernel contradicts the hypothesis there, learning goes on; if it confirms it, the difference between
    kernel and model is real.

    UsageError if AALpy is not installed, the kind or a call is unknown, or the kernel gives two answers
    to the same sequence.
    """
    if kind not in BENCHES:
        raise UsageError(f"no kind {kind!r}: choose one of {', '.join(BENCHES)}")
    began = time.monotonic()
    state = random.getstate()
    # AALpy uses the global generator. With the same seed it asks the same queries.
    random.seed(seed)
    try:
        with BENCHES[kind](249) as bench:
            learned = _learn_on(bench, kind, calls)
    except ImportError as error:
        raise UsageError(f"learning needs AALpy ({error}): pip install 'sockfsm[learn]'") from error
    # AALpy ends the process when it sees two answers to the same query.
    except SystemExit as error:
        raise UsageError(f"the kernel is not deterministic for {kind}") from error
    finally:
        random.setstate(state)
    return replace(learned, seconds=time.monotonic() - began)


def _learn_on(bench: Bench, kind: str, calls: tuple[str, ...]) -> Mealy:
    from aalpy.base import SUL, Oracle
    from aalpy.learning_algs import run_Lstar
    from aalpy.oracles import StatePrefixEqOracle

    class KernelUnderLearning(SUL):  # type: ignore[misc]
        """The system under learning: a socket on the bench, from pre() to post()."""

        def __init__(self, bench: Bench) -> None:
            super().__init__()
            self._bench = bench
            self.sock: Any = None

        def pre(self) -> None:
            self.sock = self._bench.begin()

        def step(self, letter: str) -> str:
            return self._bench.step(self.sock, letter)

        def post(self) -> None:
            self._bench.dispose(self.sock)
            self.sock = None

    class Walks(Oracle):  # type: ignore[misc]
        """Tests a hypothesis by random walks, then by the sequence on which our model differs."""

        def __init__(self, kernel: KernelUnderLearning) -> None:
            super().__init__(list(calls), kernel)
            self._walks = StatePrefixEqOracle(
                list(calls), kernel, walks_per_state=_WALKS, walk_len=_LENGTH
            )

        def find_cex(self, hypothesis: Any) -> tuple[str, ...] | None:
            counterexample: tuple[str, ...] | None = self._walks.find_cex(hypothesis)
            if counterexample is not None:
                return counterexample
            # The model proposes a sequence, but the kernel decides: a wrong model cannot be
            # confirmed by this.
            suspect = compare(_as_data(kind, calls, hypothesis), Predictor(kind)).difference
            if suspect is None or self.sul.query(suspect.calls)[-1] == suspect.learned:
                return None
            return suspect.calls

    kernel = KernelUnderLearning(bench)
    machine = run_Lstar(list(calls), kernel, Walks(kernel), "mealy", print_level=0)
    # The last query may have been left open.
    if kernel.sock is not None:
        kernel.post()
    learned = _as_data(kind, calls, machine)
    return replace(learned, queries=kernel.num_queries, steps_asked=kernel.num_steps)


def _as_data(kind: str, calls: tuple[str, ...], machine: Any) -> Mealy:
    """AALpy's automaton as data, its states numbered breadth first."""
    numbers = {machine.initial_state: 0}
    queue = [machine.initial_state]
    steps: dict[tuple[int, str], tuple[str, int]] = {}
    while queue:
        state = queue.pop(0)
        for call in calls:
            target = state.transitions[call]
            if target not in numbers:
                numbers[target] = len(numbers)
                queue.append(target)
            steps[numbers[state], call] = (state.output_fun[call], numbers[target])
    return Mealy(kind, calls, steps)
