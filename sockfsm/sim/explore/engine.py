"""What each turn does to a state: simulated once for the parts that it reads, then looked up."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from sockfsm.sim.explore.memory import ALL, Field, Keys, Memory, State
from sockfsm.sim.explore.world import TIME, Turn, World
from sockfsm.sim.run import Failure
from sockfsm.sim.scenario import Scenario

Result = tuple[str, int, str, bytes | None]
"""(actor, line, outcome, what recv gave)"""


class Footprint:
    """What a turn reads and writes. Two turns that do not meet can change places.

    Two that write different entries of a dictionary do not meet; who goes through all of it (ALL)
    meets both.
    """

    __slots__ = ("reads", "writes")

    def __init__(self, reads: frozenset[Field], writes: frozenset[Field]) -> None:
        self.reads, self.writes = reads, writes

    def meets(self, reads: set[Field], writes: set[Field]) -> bool:
        """Whether it makes a difference who comes first."""
        if not (self.writes.isdisjoint(reads) and self.reads.isdisjoint(writes)):
            return True
        return any(field[-1] is not ALL for field in self.writes & writes)


class Effect:
    """What a turn does. count: of time, how much is due; 0 where the turn cannot be taken.

    writes: (place, number). drops: it may leave objects that nothing leads to. sent: packets.
    """

    __slots__ = ("count", "drops", "failures", "footprint", "lively", "results", "sent", "writes")

    def __init__(self, footprint: Footprint) -> None:
        self.footprint = footprint
        self.count = self.sent = 0
        self.lively = self.drops = False
        self.writes: tuple[tuple[int, int], ...] = ()
        self.failures: tuple[Failure, ...] = ()
        self.results: tuple[Result, ...] = ()


Asked = tuple[int, Footprint]
"""Who was asked, and what the answer depends on or would change."""
_ABSENT = object()
_NOTHING = Footprint(frozenset(), frozenset())
_Pattern = tuple[Callable[[State], Any], dict[Any, Effect]]
_NONE: dict[int, list[_Pattern]] = {}
_EMPTY: list[_Pattern] = []
SCAN = Turn(TIME)
"""Stands for the question what is due."""


class Engine:
    """The turns of one scenario. seen: of each actor and place, what turns there read and wrote.

    growth: how much `seen` holds. misses: turns that had to be simulated.
    """

    def __init__(self, scenario: Scenario, losses: int = 0) -> None:
        self.world = world = World(scenario, losses)
        self.losses = losses
        self.actors = len(world.walkers)
        self.memory = Memory([
            *world.walkers, world.timeline.timers, world.wire, world.timeline, world.marks,
            world.kernel, world.recorder,
        ])  # fmt: skip
        self._memo: dict[Turn, dict[int, list[_Pattern]]] = {}
        self._tables: dict[tuple[Turn, int, tuple[int, ...]], dict[Any, Effect]] = {}
        self._footprints: dict[tuple[frozenset[Field], frozenset[Field]], Footprint] = {}
        self._places: list[dict[int, int]] = [{} for _ in range(self.actors)]
        self.seen: dict[tuple[int, int], tuple[set[Field], set[Field]]] = {}
        self.misses = self.growth = 0
        self._actors = [Turn(who) for who in range(self.actors)]
        self._wire = self.actors + 1
        self.first = self.memory.capture()

    def place(self, state: State, who: int) -> int:
        """How far an actor has come: the number of steps behind it."""
        known = self._places[who]
        number = state[who]
        if number not in known:
            names, form = self.memory.forms[who][number]
            known[number] = form[names.index("place")]
        return known[number]

    def left(self, state: State, who: int) -> bool:
        """Whether an actor has ended."""
        names, form = self.memory.forms[who][state[who]]
        return bool(form[names.index("left")])

    def wide(self, state: State) -> State:
        """The state, as wide as there are objects now."""
        missing = len(self.memory.objects) - len(state)
        return state + (0,) * missing if missing else state

    def effect(self, state: State, turn: Turn) -> Effect:
        """What the turn does in a state (`wide`), or that it cannot be taken."""
        own = state[turn.who if turn.who != TIME else self.actors]
        patterns = self._memo.get(turn, _NONE).get(own, _EMPTY)
        for number, (getter, table) in enumerate(patterns):
            found = table.get(getter(state))
            if found is not None:
                if number:  # what was of use is tried sooner the next time
                    patterns[number - 1], patterns[number] = patterns[number], patterns[number - 1]
                return found
        return self._simulated(state, turn, own)

    def after(self, state: State, effect: Effect) -> State:
        """The state after a turn."""
        changed = list(state)
        for place, number in effect.writes:
            changed[place] = number
        return self.memory.swept(changed) if effect.drops else tuple(changed)

    def turns(self, state: State) -> tuple[list[tuple[Turn, Effect]], list[Asked]]:
        """The turns that can be taken in a state, and all that was asked to know it.

        Of the turns of an actor, those in which packets are lost follow the one without.
        """
        found: list[tuple[Turn, Effect]] = []
        asked: list[Asked] = []
        going = False
        for turn in self._actors:
            state = self.wide(state)
            effect = self.effect(state, turn)
            if effect.count:
                first = len(found)
                self._variants(state, turn, effect, found)
                asked += [(turn.who, one.footprint) for _, one in found[first:]]
            else:
                asked.append((turn.who, effect.footprint))
            going = going or not self.left(state, turn.who)
        state = self.wide(state)
        scan = self.effect(state, SCAN)
        asked.append((TIME, scan.footprint))
        if scan.count and (scan.lively or (going and not found)):
            first = len(found)
            for which in range(scan.count):
                state = self.wide(state)
                turn = Turn(TIME, (which,))
                self._variants(state, turn, self.effect(state, turn), found)
            if scan.lively:
                asked += [(TIME, one.footprint) for _, one in found[first:]]
        return found, asked

    def _variants(
        self, state: State, turn: Turn, effect: Effect, found: list[tuple[Turn, Effect]]
    ) -> None:
        found.append((turn, effect))
        if not self.losses or not effect.sent:
            return
        lost = turn.chosen[1:] if turn.who == TIME else turn.chosen
        if len(lost) < self._losable(state):
            for which in range(lost[-1] + 1 if lost else 0, effect.sent):
                other = Turn(turn.who, (*turn.chosen, which))
                state = self.wide(state)
                self._variants(state, other, self.effect(state, other), found)

    def _losable(self, state: State) -> int:
        names, form = self.memory.forms[self._wire][state[self._wire]]
        return int(form[names.index("left")])

    def _simulated(self, state: State, turn: Turn, own: int) -> Effect:
        memory, world, log = self.memory, self.world, self.memory.log
        self.misses += 1
        memory.restore(state)
        log.clear()
        world.failures, world.results = [], []
        effect = Effect(_NOTHING)
        lively = turn.who != TIME or world.due()[0]
        if turn is SCAN:
            effect.lively, effect.count = world.due()
        elif turn.who == TIME or world.ready(turn.who):
            effect.count = 1
            self._take(turn)
            effect.sent = world.wire.sent
        once = {(id(one), name): one for one, name in log}
        noted = [(one, name, memory.place(one)) for (_, name), one in once.items()]
        touched = {place for _, _, place in noted if place is not None}
        touched |= {one.place for one, _, _ in noted if type(one) is Keys}
        after = memory.capture(state, touched)
        before = self.wide(state)
        effect.failures = tuple(world.failures)
        effect.results = tuple((r[0], r[1], r[2], r[3]) for r in world.results)
        effect.writes = tuple(
            (place, number) for place, number in enumerate(after) if number != before[place]
        )
        effect.drops = self._dropped(before, after)
        effect.footprint = self._footprint(noted, before, after)
        if lively and turn is not SCAN:
            self._note(before, turn, effect.footprint)
        touched |= memory.born | memory.refused | {place for place, _ in effect.writes}
        slots = tuple(sorted(touched)) or (0,)
        table = self._tables.get((turn, own, slots))
        if table is None:
            table = self._tables[turn, own, slots] = {}
            patterns = self._memo.setdefault(turn, {}).setdefault(own, [])
            patterns.append((itemgetter(*slots), table))
        table[itemgetter(*slots)(before)] = effect
        return effect

    def _take(self, turn: Turn) -> None:
        world = self.world
        try:
            world.take(turn)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the schedule's finding
            text = f"{type(error).__name__}: {error}"
            world.failures.append(Failure("exception", None, text))

    def _dropped(self, before: State, after: State) -> bool:
        """Whether an object was named by what has changed, and is no more."""
        inside = self.memory.inside
        gone: set[int] = set()
        kept: set[int] = set()
        for place, (was, now) in enumerate(zip(before, after, strict=True)):
            if was != now:
                gone.update(inside(place, was))
                kept.update(inside(place, now))
        return not gone <= kept

    def _footprint(
        self, noted: list[tuple[Any, Any, int | None]], before: State, after: State
    ) -> Footprint:
        memory = self.memory
        reads: set[Field] = set()
        for one, name, place in noted:
            if type(one) is Keys:
                reads.add((one.place, one.name, memory.key(name)))
            elif place is not None and name is not None:
                reads.add((place, name))
        writes: set[Field] = set()
        for place, (was, now) in enumerate(zip(before, after, strict=True)):
            if was and now and was != now:
                old = dict(zip(*memory.forms[place][was], strict=True))
                new = dict(zip(*memory.forms[place][now], strict=True))
                for name in {**old, **new}:
                    one, other = old.get(name, _ABSENT), new.get(name, _ABSENT)
                    if one != other:
                        _changed((place, name), one, other, writes)
        # Who looks at a dictionary as a whole sees each of its entries.
        reads.update((*field, ALL) for field in list(reads) if len(field) == 2)
        key = frozenset(reads), frozenset(writes)
        return self._footprints.setdefault(key, Footprint(*key))

    def _note(self, state: State, turn: Turn, footprint: Footprint) -> None:
        who = turn.who
        place = self.place(state, who) if who != TIME else 0
        reads, writes = self.seen.setdefault((who, place), (set(), set()))
        self.growth += len(footprint.reads - reads) + len(footprint.writes - writes)
        reads |= footprint.reads
        writes |= footprint.writes


def _changed(field: Field, one: Any, other: Any, writes: set[Field]) -> None:
    writes.add(field)
    if type(one) is tuple and type(other) is tuple and one[0] is dict and other[0] is dict:
        old, new = dict(one[1:]), dict(other[1:])
        keys = [key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
        writes.update((*field, key) for key in keys)
        writes.add((*field, ALL))
        writes.discard(field)
