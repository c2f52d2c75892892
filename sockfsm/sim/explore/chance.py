"""Schedules by chance. A chooser says which of those that are ready goes on.

The protocol is `choose(ready) -> place`: what a simulated program's scheduler asks, too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random
from typing import Protocol


class Chooser(Protocol):
    """Decides at each point where more than one can go on."""

    def choose(self, ready: Sequence[Hashable]) -> int:
        """The place in `ready` of who goes on."""


class Uniform:
    """Each with the same chance."""

    def __init__(self, seed: object) -> None:
        self._random = Random(f"uniform {seed}")

    def choose(self, ready: Sequence[Hashable]) -> int:
        """See `Chooser`."""
        return self._random.randrange(len(ready))


class Pct:
    """Priorities by chance, `depth - 1` of them lowered on the way.

    Finds a fault that takes `depth` ordered events, among n actors and k turns, with a chance of at
    least 1 / (n * k ** (depth - 1)): Burckhardt and others, A Randomized Scheduler with Probabilistic
    Guarantees of Finding Bugs, 2010.
    """

    def __init__(self, seed: object, depth: int, length: int) -> None:
        self._random = Random(f"pct {seed}")
        self._rank: dict[Hashable, float] = {}
        self._left = length
        self._turn = 0
        places = range(1, max(length, depth))
        self._changes = set(self._random.sample(places, min(depth - 1, len(places))))

    def choose(self, ready: Sequence[Hashable]) -> int:
        """See `Chooser`."""
        self._turn += 1
        for one in ready:
            if one not in self._rank:
                self._rank[one] = 1 + self._random.random()
        if self._turn in self._changes:
            highest = max(ready, key=self._rank.__getitem__)
            self._rank[highest] = -self._turn
        return max(range(len(ready)), key=lambda place: self._rank[ready[place]])
