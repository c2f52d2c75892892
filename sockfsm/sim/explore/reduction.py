"""Which turns need not be tried in a state, because their order with the others makes no difference.

A persistent set (Godefroid, 1996): actors whose next turns do not meet anything that all others may
still do. What they may still do is learned: all that their turns from here on have read and written in
this search, which is repeated until nothing new is learned. The graph of states has no cycles (each
turn brings an actor or time on), so that no turn is put off for ever.
"""

from __future__ import annotations

from sockfsm.sim.explore.engine import Asked, Effect, Engine, Footprint
from sockfsm.sim.explore.memory import State
from sockfsm.sim.explore.world import TIME, Turn


class Reduction:
    """Chooses the turns that are tried. Actors are bits here, time the one after the last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._learned = -1
        self._until: dict[Footprint, tuple[int, ...]] = {}

    def chosen(
        self, state: State, found: list[tuple[Turn, Effect]], asked: list[Asked]
    ) -> list[tuple[Turn, Effect]]:
        """Those of the turns that are to be tried."""
        first = found[0][0].who
        if all(turn.who == first for turn, _ in found):
            return found
        engine = self._engine
        if self._learned != engine.growth:
            self._learned = engine.growth
            self._until.clear()
        places = [engine.place(state, who) for who in range(engine.actors)]
        meets = [1 << bit for bit in range(engine.actors + 1)]
        for who, footprint in asked:
            until = self._until.get(footprint)
            if until is None:
                until = self._until[footprint] = self._met(footprint)
            for bit, place in enumerate(places):
                if place <= until[bit]:
                    meets[who] |= 1 << bit  # TIME is the last
            meets[who] |= until[-1]
        ready = 0
        for turn, _ in found:
            ready |= _bit(turn.who, engine.actors)
        best = ready
        for bit in range(engine.actors + 1):
            if ready >> bit & 1:
                closed = _closed(1 << bit, meets) & ready
                if closed.bit_count() < best.bit_count():
                    best = closed
        if best == ready:
            return found
        return [entry for entry in found if _bit(entry[0].who, engine.actors) & best]

    def _met(self, footprint: Footprint) -> tuple[int, ...]:
        """Of each actor the last place at which a turn was seen that meets it, and time's bit."""
        last = [-1] * self._engine.actors
        time = 0
        for (who, place), (reads, writes) in self._engine.seen.items():
            if (who == TIME or place > last[who]) and footprint.meets(reads, writes):
                if who == TIME:
                    time = 1 << self._engine.actors
                else:
                    last[who] = place
        return *last, time


def _bit(who: int, actors: int) -> int:
    return 1 << (who if who != TIME else actors)


def _closed(chosen: int, meets: list[int]) -> int:
    """All that must be chosen with some, because one of them meets it."""
    while True:
        more = chosen
        for bit, met in enumerate(meets):
            if chosen >> bit & 1:
                more |= met
        if more == chosen:
            return chosen
        chosen = more
