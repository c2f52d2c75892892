"""Runs one share of a suite on the kernel, and compares it with the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product

from sockfsm.conform.bench import Bench
from sockfsm.conform.expect import expected
from sockfsm.conform.suites import SUITES, Suite
from sockfsm.conform.traced import UNTRACED, Tracer, tracing
from sockfsm.conform.watch import Watch
from sockfsm.model.predict import Predictor


@dataclass(frozen=True)
class Disagreement:
    """The shortest sequence after which the model and the kernel differ.

    what: the last call's outcome, or the fact that was looked at ("tcp", "named", ...).
    """

    calls: tuple[str, ...]
    state: str
    what: str
    model: str
    kernel: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Disagreements with the same key are one, reached in different ways."""
        return (self.state, self.what, self.model, self.kernel)


@dataclass
class Share:
    """What was compared: sequences run, outcomes and facts compared, and where they differ."""

    sequences: int = 0
    outcomes: int = 0
    facts: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    def add(self, found: Disagreement) -> None:
        """Keep it if it is new, or shorter than the known one."""
        for index, known in enumerate(self.disagreements):
            if known.key == found.key:
                if len(found.calls) < len(known.calls):
                    self.disagreements[index] = found
                return
        self.disagreements.append(found)

    def join(self, other: Share) -> None:
        """Add another share."""
        self.sequences += other.sequences
        self.outcomes += other.outcomes
        self.facts += other.facts
        for found in other.disagreements:
            self.add(found)


def prefixes(suite: Suite, depth: int) -> list[tuple[str, ...]]:
    """The beginnings of sequences, by which a suite is divided into shares."""
    return list(product(suite.words, repeat=min(2, depth)))


def sequences(suite: Suite, depth: int, prefix: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield all sequences of exactly `depth` calls that begin with `prefix`.

    Shorter sequences are the beginnings of these, and are compared with them.
    """
    for rest in product(suite.words, repeat=depth - len(prefix)):
        yield (*prefix, *rest)


def compare(
    title: str, depth: int, prefix: Sequence[str], lane: int, traced: bool = False
) -> Share:
    """Run one share of the suite called `title`. UsageError if the kernel refuses the bench.

    traced: trace the sockets, and compare what the tracer says of them as well.
    """
    suite = SUITES[title]
    with ExitStack() as stack:
        tracer = stack.enter_context(tracing()) if traced else None
        bench = stack.enter_context(suite.bench(lane))
        one = _One(suite, bench, tracer)
        for calls in sequences(suite, depth, prefix):
            if tracer is None or not UNTRACED.intersection(calls):
                one.run(calls)
    if tracer is not None:
        for found in tracer.unexplained():
            one.share.add(
                Disagreement((found.call,), found.before, found.method, found.outcome, "?")
            )
    return one.share


class _One:
    """Runs the sequences of one suite on its bench."""

    def __init__(self, suite: Suite, bench: Bench, tracer: Tracer | None) -> None:
        self.share = Share()
        self._suite = suite
        self._bench = bench
        self._tracer = tracer
        self._predictor = Predictor(suite.kind, suite.given)

    def run(self, calls: tuple[str, ...]) -> None:
        """Make the calls, and compare after each. Stops at the first difference."""
        bench, suite, predictor = self._bench, self._suite, self._predictor
        node, watch = predictor.born(suite.birth), Watch(suite.kind, suite.birth)
        sock = bench.begin()
        self.share.sequences += 1
        try:
            for done, call in enumerate(calls, 1):
                before = node
                seen = bench.step(sock, call)
                self.share.outcomes += 1
                said, node, _ = predictor.step(node, call)
                found = said if seen != said else watch.step(call, seen, suite.variant(call))
                if not found and node.name not in watch.states:
                    found = f"{node.name} is not among {watch.state}"
                if not found and self._tracer is not None:
                    found = self._tracer.differs(sock, watch.state)
                if found:
                    self.share.add(Disagreement(calls[:done], before.name, call, found, seen))
                    return
            if suite.looks:
                _look(self.share, predictor, calls, node.name, node.parts, bench.seen(sock))
        finally:
            bench.dispose(sock)


def _look(
    share: Share,
    predictor: Predictor,
    calls: tuple[str, ...],
    state: str,
    parts: tuple[str, ...],
    seen: dict[str, object],
) -> None:
    for fact, values in expected(predictor.table, parts).items():
        share.facts += 1
        if seen.get(fact) not in values:
            wanted = "|".join(sorted(map(str, values)))
            share.add(Disagreement(calls, state, fact, wanted, str(seen.get(fact))))
