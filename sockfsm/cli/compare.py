"""`sockfsm compare`: a scenario on the virtual kernel and on the running one, and where they differ."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sockfsm.model.kinds import flat_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockfsm.cli.main import Subparsers
    from sockfsm.events import Call
    from sockfsm.sim.play import Played
    from sockfsm.sim.run import Simulation
    from sockfsm.sim.scenario import Scenario

_DIFFERENT = 1
_ASIDE = frozenset({"exit", "unlink"})


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "compare",
        help="a scenario simulated and played with real sockets: where they differ",
        description="Simulate a scenario, play it with real sockets on loopback, and compare the"
        " outcome of every call, what it received, the states after it, and who stays blocked."
        " Exit status 1 where they differ.",
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="a file, or one that ships")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare and tell. UsageError for a scenario that cannot be read or played."""
    from sockfsm.sim.shipped import load

    scenario = load(args.scenario)
    found = list(differences(scenario))
    for line in found:
        print(line)
    if not found:
        print(f"{scenario.file}: simulated and played alike")
    return _DIFFERENT if found else 0


def differences(scenario: Scenario, seed: int = 0) -> Iterator[str]:
    """Where the virtual kernel and the running one differ."""
    from sockfsm.sim.play import check, play
    from sockfsm.sim.run import Simulation
    from sockfsm.tracer.block import tracing

    check(scenario)
    simulation = Simulation(scenario, seed)
    ours = simulation.run()
    with tracing() as trace:
        played = play(scenario)
    yield from _outcomes(scenario, simulation, played)
    theirs = [call for call in trace.calls() if call.end <= played.until]
    for actor in scenario.actors:
        simulated = _calls(c for c in ours.calls() if c.process.command[-1] == actor.name)
        real = _calls(c for c in theirs if c.thread.name == actor.name)
        doubts = Doubts()
        for one, other in zip(simulated, real, strict=False):
            if not doubts.alike(one, other):
                yield f"{scenario.file}: {actor.name}: simulated {_said(one)}, real {_said(other)}"
                break
        else:
            if len(simulated) != len(real):
                counts = f"{len(simulated)} calls simulated, {len(real)} traced"
                yield f"{scenario.file}: {actor.name}: {counts}"


class Doubts:
    """What the sockets of an actor may be in, for who sees its calls alone.

    The simulator knows what a peer has done; a tracer shows the likeliest of what its socket may be
    in. So two states are alike when they are equal, or the calls so far allow both.
    """

    def __init__(self) -> None:
        self._states: dict[int, set[str]] = {}

    def alike(self, one: Call, other: Call) -> bool:
        """Whether a simulated call ended as the real one."""
        if (one.method, one.outcome) != (other.method, other.outcome):
            return False
        if one.socket is None:
            return other.socket is None
        flat = flat_of(one.socket.kind)
        outcome = "EAGAIN" if one.outcome == "timeout" else one.outcome
        known = self._states.get(one.socket.number, {flat.initial})
        after = {
            cell.target
            for state in known
            for outcomes in flat.ways[state, one.call].values()
            for cell in outcomes.get(outcome, ())
        }
        if not after:  # a deferred close, for example
            return one.after == other.after
        self._states[one.socket.number] = after
        return one.after == other.after or {one.after, other.after} <= after


def _outcomes(scenario: Scenario, simulation: Simulation, played: Played) -> Iterator[str]:
    stuck = simulation.stuck
    for actor in scenario.actors:
        ours = [tuple(result) for who, *result in simulation.results if who == actor.name]
        theirs = played.outcomes[actor.name]
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                yield f"{scenario.file}:{one[0]}: simulated {one[1:]}, real {other[1:]}"
        if len(ours) != len(theirs):
            yield f"{scenario.file}: {actor.name}: {len(ours)} calls simulated, {len(theirs)} real"
        if (actor.name in stuck) != (actor.name in played.blocked):
            who = "simulated" if actor.name in stuck else "real"
            yield f"{scenario.file}: {actor.name} stays blocked in the {who} run alone"


def _calls(calls: Iterable[Call]) -> list[Call]:
    """An actor's own calls; a socket of an earlier run may be collected meanwhile."""
    return [call for call in calls if call.call not in _ASIDE and call.method != "collected"]


def _said(call: Call) -> str:
    return f"{call.method} = {call.outcome}, then {call.after}"
