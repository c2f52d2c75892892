"""The states of a search: as the world is without it, counted by hand, the same when reduced."""

from __future__ import annotations

from math import comb
from pathlib import Path
from random import Random

import pytest

from sockfsm.sim.explore.engine import Engine
from sockfsm.sim.explore.memory import State
from sockfsm.sim.explore.reduction import Reduction
from sockfsm.sim.explore.search import Options, explore
from sockfsm.sim.explore.world import TIME, World
from sockfsm.sim.scenario import Scenario, parse
from sockfsm.sim.shipped import load, names

PLANTED = sorted((Path(__file__).parent / "planted").glob("*.txt"))


def schedules(scenario: Scenario, *, reduced: bool, losses: int = 0) -> tuple[int, int]:
    """How many schedules the graph of states has, and how many states."""
    engine = Engine(scenario, losses)
    while True:
        learned = engine.growth
        reduction = Reduction(engine) if reduced else None
        known: dict[State, int] = {}
        count = _paths(engine, engine.first, reduction, known)
        if learned == engine.growth:
            return count, len(known)


def _paths(
    engine: Engine, state: State, reduction: Reduction | None, known: dict[State, int]
) -> int:
    key = state
    while key and not key[-1]:
        key = key[:-1]
    if key not in known:
        turns, asked = engine.turns(state)
        if reduction is not None and turns:
            turns = reduction.chosen(engine.wide(state), turns, asked)
        known[key] = sum(
            _paths(engine, engine.after(engine.wide(state), effect), reduction, known)
            for _, effect in turns
        ) or 1  # fmt: skip
    return known[key]


def independent(*counts: int) -> Scenario:
    """Actors that make so many calls, which nobody else sees."""
    text = ""
    for number, count in enumerate(counts):
        text += f"actor{number}:\n"
        for call in range(count):
            text += "    s = socket unix-stream\n" if call % 2 == 0 else "    s.close\n"
    return parse(text)


@pytest.mark.parametrize("counts", [(2, 2), (4, 2), (6, 8), (10, 10)])
def test_two_independent_actors(counts: tuple[int, int]) -> None:
    n, m = counts
    scenario = independent(n, m)
    assert schedules(scenario, reduced=False) == (comb(n + m, n), (n + 1) * (m + 1))
    assert schedules(scenario, reduced=True) == (1, n + m + 1)


def test_three_independent_actors() -> None:
    scenario = independent(4, 4, 4)
    assert schedules(scenario, reduced=False) == (34650, 125)  # 12! / 4!^3
    assert schedules(scenario, reduced=True) == (1, 13)


TO_ONE = """
reader:
    r = socket unix-dgram
    r.bind r.sock
    mark bound
    after a
    after b
    r.close
ann:
    after bound
    s = socket unix-dgram
    s.sendto r.sock "ann"
    mark a
    after b
bob:
    after bound
    s = socket unix-dgram
    s.sendto r.sock "bob"
    mark b
    after a
"""


def test_two_that_send_to_one() -> None:
    """After the reader's two turns each sender has two: 6 orders; then three ends, 3! of them."""
    scenario = parse(TO_ONE)
    assert schedules(scenario, reduced=False)[0] == 6 * 6
    reduced, _ = schedules(scenario, reduced=True)
    assert 2 <= reduced < 36


def test_two_that_wake_at_once_come_in_either_order() -> None:
    scenario = parse("ann:\n    wait 10ms\nbob:\n    wait 10ms\n")
    # Two fall asleep in either order, wake in either; or one wakes before the other falls asleep.
    assert schedules(scenario, reduced=False)[0] == 2 * 2 + 2


def test_time_moves_though_somebody_could_run() -> None:
    scenario = parse("ann:\n    wait 10ms\nbob:\n    s = socket udp\n    s.close\n")
    assert schedules(scenario, reduced=False)[0] == comb(4, 2)


LOSSY = """
network latency 1ms
ann at 10.0.0.1:
    s = socket udp
    s.bind 10.0.0.1:7000
    mark bound
    s.timeout 1s
    s.recv ?
    s.close
bob at 10.0.0.2:
    after bound
    s = socket udp
    s.sendto 10.0.0.1:7000 "one"
    s.close
"""


def test_a_turn_that_sends_may_lose_what_it_sends() -> None:
    engine = Engine(parse(LOSSY), 1)
    state = engine.first
    for who in (0, 0, 1):
        turns, _ = engine.turns(state)
        effect = next(effect for turn, effect in turns if turn.who == who)
        state = engine.after(engine.wide(state), effect)
    turns, _ = engine.turns(engine.wide(state))
    assert [turn.chosen for turn, _ in turns if turn.who == 1] == [(), (0,)]
    lost = next(effect for turn, effect in turns if turn == (1, (0,)))
    turns, _ = engine.turns(engine.after(engine.wide(state), lost))
    assert all(len(turn.chosen) <= (turn.who == TIME) for turn, _ in turns)


def walked(scenario: Scenario, seeds: range, losses: int) -> None:
    """Schedules by chance, looked up and in a world of their own: turn for turn the same."""
    engine = Engine(scenario, losses)
    for seed in seeds:
        random = Random(seed)
        world, state = World(scenario, losses), engine.first
        while True:
            turns, _ = engine.turns(state)
            state = engine.wide(state)
            plain = [t for t, _ in turns if len(t.chosen) <= (t.who == TIME)]
            assert plain == world.options()
            if not turns:
                assert [str(f) for f in world.verdict()] == ended(engine, state)
                break
            turn, effect = random.choice(turns)
            results, failures = len(world.results), len(world.failures)
            world.take(turn)
            assert tuple(tuple(r[:4]) for r in world.results[results:]) == effect.results
            assert [str(f) for f in world.failures[failures:]] == [str(f) for f in effect.failures]
            state = engine.after(state, effect)


def ended(engine: Engine, state: State) -> list[str]:
    """What is wrong at the end of a schedule."""
    engine.memory.restore(state)
    return [str(failure) for failure in engine.world.verdict()]


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
@pytest.mark.parametrize("losses", [0, 1])
def test_a_planted_scenario_goes_as_in_a_world_of_its_own(path: Path, losses: int) -> None:
    walked(load(str(path)), range(25), losses)


@pytest.mark.parametrize("name", names())
def test_a_shipped_scenario_goes_as_in_a_world_of_its_own(name: str) -> None:
    walked(load(name), range(8), 0)


@pytest.mark.parametrize("name", ["tcp-echo", "half-close", "udp-loss", "lost-syn"])
def test_lost_packets_go_as_in_a_world_of_their_own(name: str) -> None:
    walked(load(name), range(6), 2)


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_the_reduction_finds_the_same(path: Path) -> None:
    losses = int("losses" in path.read_text().splitlines()[0])
    found = [
        explore(load(str(path)), Options(losses=losses, reduced=reduced))
        for reduced in (True, False)
    ]
    assert [fault.key for fault in found[0].faults] == [fault.key for fault in found[1].faults]
    lengths = [[len(fault.turns) for fault in one.faults] for one in found]
    assert lengths[0] == lengths[1]


def test_a_state_is_packed_and_unpacked() -> None:
    engine = Engine(load("tcp-echo"))
    memory = engine.memory
    keys = set()
    for last in (0, 1, 255, 256, 65_535, 65_536, 70_000):
        for first in (1, 256, 65_536):
            state = (first, *engine.first[1:-1], last)
            keys.add(memory.packed(state))
            assert memory.unpacked(memory.packed(state)) == state
    assert len(keys) == 7 * 3
