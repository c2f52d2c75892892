"""One share of a suite: run its sequences on the kernel, beside the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from sockfsm.conform.expect import expected
from sockfsm.conform.suites import SUITES, Suite
from sockfsm.model.predict import Predictor


@dataclass(frozen=True)
class Disagreement:
    """The shortest sequence after which model and kernel say different things.

    what: the last call's outcome, or the fact that was looked at ("tcp", "named", ...).
    """

    calls: tuple[str, ...]
    state: str
    what: str
    model: str
    kernel: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Disagreements of the same key are the same one, met on different ways."""
        return (self.state, self.what, self.model, self.kernel)


@dataclass
class Share:
    """What was compared: sequences run, outcomes and facts compared, and where they differ."""

    sequences: int = 0
    outcomes: int = 0
    facts: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    def add(self, found: Disagreement) -> None:
        """Keep it when it is new, or shorter than the one known."""
        for index, known in enumerate(self.disagreements):
            if known.key == found.key:
                if len(found.calls) < len(known.calls):
                    self.disagreements[index] = found
                return
        self.disagreements.append(found)

    def join(self, other: Share) -> None:
        """Take another share's figures in."""
        self.sequences += other.sequences
        self.outcomes += other.outcomes
        self.facts += other.facts
        for found in other.disagreements:
            self.add(found)


def prefixes(suite: Suite, depth: int) -> list[tuple[str, ...]]:
    """The beginnings by which a suite is shared out among processes."""
    return list(product(suite.words, repeat=min(2, depth)))


def sequences(suite: Suite, depth: int, prefix: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All sequences of exactly `depth` calls that begin with `prefix`: shorter ones are their
    beginnings, and are compared with them."""
    for rest in product(suite.words, repeat=depth - len(prefix)):
        yield (*prefix, *rest)


def compare(title: str, depth: int, prefix: Sequence[str], lane: int) -> Share:
    """Run one share of the suite called `title`. UsageError when the kernel refuses the bench."""
    suite = SUITES[title]
    predictor = Predictor(suite.kind, suite.given)
    share = Share()
    with suite.bench(lane) as bench:
        for calls in sequences(suite, depth, prefix):
            outcomes, seen = bench.run(calls, suite.looks)
            share.sequences += 1
            share.outcomes += len(outcomes)
            node = predictor.created
            for index, call in enumerate(calls):
                before = node
                outcome, node, _ = predictor.step(node, call)
                if outcome != outcomes[index]:
                    share.add(
                        Disagreement(
                            calls[: index + 1], before.name, call, outcome, outcomes[index]
                        )
                    )
                    break
            else:
                if suite.looks:
                    _look(share, predictor, calls, node.name, node.parts, seen)
    return share


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
