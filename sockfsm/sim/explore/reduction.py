"""Which turns need not be tried in a state, because their order with the others makes no difference.

A persistent set (Godefroid, 1996): actors whose next turns do not meet anything that all others may
still do. What they may still do is learned: all that their turns from here on have read and written in
this search, which is repeated until nothing new is learned. The graph of states has no cycles (each
turn brings an actor or time on), so that no turn is put off for ever.
"""

from __future__ import annotations

from sockfsm.sim.explore.engine import Asked, Effect, Engine, Footprint
from sockfsm.sim.explore.memory import Field, State
from sockfsm.sim.explore.world import TIME, Turn

_Future = tuple[set[Field], set[Field]]


class Reduction:
    """Chooses the turns that are tried."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._learned = -1
        self._futures: dict[tuple[int, int], _Future] = {}
        self._meets: dict[tuple[Footprint, int, int], bool] = {}
        self._chosen: dict[tuple[tuple[int, int, Footprint], ...], frozenset[int]] = {}

    def chosen(
        self, state: State, found: list[tuple[Turn, Effect]], asked: list[Asked]
    ) -> list[tuple[Turn, Effect]]:
        """Those of the turns that are to be tried."""
        first = found[0][0].who if found else TIME
        if all(turn.who == first for turn, _ in found):
            return found
        engine = self._engine
        if self._learned != engine.growth:
            self._learned = engine.growth
            self._futures.clear()
            self._meets.clear()
            self._chosen.clear()
        key = tuple(
            (who, engine.place(state, who) if who != TIME else 0, print_) for who, print_ in asked
        )
        actors = self._chosen.get(key)
        if actors is None:
            actors = self._chosen[key] = self._smallest({turn.who for turn, _ in found}, key)
        return [entry for entry in found if entry[0].who in actors]

    def _smallest(
        self, ready: set[int], asked: tuple[tuple[int, int, Footprint], ...]
    ) -> frozenset[int]:
        places = {who: place for who, place, _ in asked}
        best = frozenset(ready)
        for start in sorted(ready):
            closed = {start}
            todo = [start]
            for one in todo:
                for who, _, footprint in asked:
                    if who == one:
                        new = [
                            other
                            for other in places
                            if other not in closed and self._meet(footprint, other, places[other])
                        ]
                        closed.update(new)
                        todo += new
            if len(closed & ready) < len(best):
                best = frozenset(closed & ready)
        return best

    def _meet(self, footprint: Footprint, who: int, place: int) -> bool:
        key = footprint, who, place
        known = self._meets.get(key)
        if known is None:
            known = self._meets[key] = footprint.meets(*self._future(who, place))
        return known

    def _future(self, who: int, place: int) -> _Future:
        """All that an actor may still read and write."""
        known = self._futures.get((who, place))
        if known is None:
            known = set(), set()
            for (other, later), (reads, writes) in self._engine.seen.items():
                if other == who and later >= place:
                    known[0].update(reads)
                    known[1].update(writes)
            self._futures[who, place] = known
        return known
