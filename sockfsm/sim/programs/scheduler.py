"""Who runs next. All else in a run follows from the seed; this may be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sockfsm.sim.programs.actor import Actor


class Scheduler(Protocol):
    """Decides at every point where more than one actor could run."""

    def choose(self, ready: Sequence[Actor]) -> int:
        """The place in `ready` of who runs next.

        ready: at least two, in an order that only earlier choices decide. Who has just run is among
        them if he can go on; `Actor.current` tells. `Actor.about` is what each is going to do.
        """


class Seeded:
    """Chooses at random; the same seed, the same choices."""

    def __init__(self, seed: int) -> None:
        self._random: Callable[[], float] = Random(f"schedule {seed}").random

    def choose(self, ready: Sequence[Actor]) -> int:
        """See `Scheduler`."""
        return int(self._random() * len(ready))


class Noted:
    """Lets another one choose, and notes what it chose: `choices` replays the run."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.choices: list[int] = []
        self._scheduler = scheduler

    def choose(self, ready: Sequence[Actor]) -> int:
        """See `Scheduler`."""
        chosen = self._scheduler.choose(ready)
        self.choices.append(chosen)
        return chosen


class Replayed:
    """Repeats noted choices; then the first who can."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = iter(choices)

    def choose(self, ready: Sequence[Actor]) -> int:
        """See `Scheduler`. A choice that does not fit, because the program has changed, is the last."""
        return min(next(self._choices, 0), len(ready) - 1)
