"""`sockfsm compare`: a scenario on the virtual kernel and on the running one, and where they differ."""

from __future__ import annotations

import argparse
import tempfile
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sockfsm.model.kinds import flat_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sockfsm.cli.main import Subparsers
    from sockfsm.events import Call
    from sockfsm.sim.play import Played
    from sockfsm.sim.run import Simulation
    from sockfsm.sim.scenario import Scenario
    from sockfsm.trace.source import TraceSource

_DIFFERENT = 1
_ASIDE = frozenset({"collected", "dup", "exit", "unlink"})
_MOMENT = 1_000_000
"""ns: who waits for less, waits for the other actor's next step, and not for a timer or a network."""
_TIMER = 150_000_000
"""ns: who waits for more in the real run, waits for a timer of TCP's, which take 200 ms and more."""

OWN_CALLS = "a tracer knows what its own socket did: of what the peer did it shows the likeliest"
TURN = "nothing in the scenario orders this call and what it waits for"
ONE_PROCESS = "the actors of a play are one process, whose tracer sees who removes a socket's path"
MOMENT = "nothing in the scenario orders this look and what the other end does"


class Difference(NamedTuple):
    """Where two runs differ. why: what explains it, '' for a fault of ours."""

    place: str
    text: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" + (f" (explained: {self.why})" if self.why else "")


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "compare",
        help="a scenario simulated and played with real sockets: where they differ",
        description="Simulate a scenario, play it with real sockets, and compare the outcome of every"
        " call, what it received, the states after it, what could be seen of the socket, the waits,"
        " who stays blocked, and the segments of each connection, its handshake and its closing."
        " Exit status 1 where they differ and nothing explains it.",
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="a file, or one that ships")
    parser.add_argument(
        "--network", default="", metavar="RULES", help="in place of the scenario's line `network`"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the network's losses")
    parser.add_argument(
        "--explained", action="store_true", help="tell differences that have an explanation, too"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare and tell. UsageError for a scenario that cannot be read or played."""
    from sockfsm.cli.simulate import network_of
    from sockfsm.sim.shipped import load

    scenario = load(args.scenario)
    if args.network:
        scenario.network = network_of(args.network)
    found = list(whole(scenario, args.seed))
    for difference in found:
        if args.explained or not difference.why:
            print(difference)
    faults = [difference for difference in found if not difference.why]
    if not faults:
        print(f"{scenario.file}: simulated and played alike")
    return _DIFFERENT if faults else 0


def whole(scenario: Scenario, seed: int = 0) -> Iterator[Difference]:
    """Where the virtual kernel and the running one differ, segments and all."""
    from sockfsm.cli.play import perform
    from sockfsm.cli.segments import segments
    from sockfsm.sim.run import Simulation
    from sockfsm.trace.trace import Trace

    simulation = Simulation(scenario, seed)
    ours = simulation.run()
    with tempfile.TemporaryDirectory(prefix="sockfsm-") as folder:
        played = perform(scenario, f"{folder}/trace", seed)
        theirs = Trace.open(f"{folder}/trace")
        yield from _differences(scenario, simulation, ours, played, theirs)
        for place, text, why in segments(
            scenario, ours, theirs, played.until if played.blocked else None
        ):
            yield Difference(place, text, why)


def calls(scenario: Scenario, seed: int = 0) -> Iterator[Difference]:
    """The same of the calls alone, played here and now, without a namespace: quick."""
    from sockfsm.sim.play import play
    from sockfsm.sim.run import Simulation
    from sockfsm.tracer.block import tracing

    simulation = Simulation(scenario, seed)
    ours = simulation.run()
    with tracing() as theirs:
        played = play(scenario)
    yield from _differences(scenario, simulation, ours, played, theirs)


def _differences(
    scenario: Scenario, simulation: Simulation, ours: TraceSource, played: Played,
    theirs: TraceSource,
) -> Iterator[Difference]:  # fmt: skip
    yield from _outcomes(scenario, simulation, played)
    real = [call for call in theirs.calls() if call.end <= played.until]
    for actor in scenario.actors:
        if any(step.verb == "disconnect" for step in actor.steps):
            continue  # it goes by the tracer, which takes what follows for something else
        yield from _states(
            f"{scenario.file}: {actor.name}",
            _calls(c for c in ours.calls() if c.process.command[-1] == actor.name),
            _calls(c for c in real if c.thread.name == actor.name),
        )


def _states(place: str, ours: list[Call], theirs: list[Call]) -> Iterator[Difference]:
    doubts = Doubts()
    for one, other in zip(ours, theirs, strict=False):
        text = f"simulated {_said(one)}, real {_said(other)}"
        if not doubts.alike(one, other):
            yield Difference(place, text, ONE_PROCESS if _removed(one, other) else "")
            return
        if one.after != other.after:
            yield Difference(place, text, OWN_CALLS)
        if one.waited != other.waited:
            waiting = one if one.waited else other
            most = _MOMENT if one.waited else _TIMER
            why = TURN if waiting.end - waiting.begin < most else ""
            who = "simulated" if one.waited else "real"
            yield Difference(place, f"{one.method} waits in the {who} run alone", why)
    if len(ours) != len(theirs):
        yield Difference(place, f"{len(ours)} calls simulated, {len(theirs)} traced")


def _removed(one: Call, other: Call) -> bool:
    """Whether two calls differ only in whether their socket's path is known to be gone."""
    if (one.method, one.outcome) != (other.method, other.outcome):
        return False
    return one.after.replace("_UNLINKED", "") == other.after.replace("_UNLINKED", "")


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


def _outcomes(scenario: Scenario, simulation: Simulation, played: Played) -> Iterator[Difference]:
    for actor in scenario.actors:
        place = f"{scenario.file}: {actor.name}"
        ours = [result for result in simulation.results if result.actor == actor.name]
        theirs = played.ended[actor.name]
        for one, other in zip(ours, theirs, strict=False):
            if (one.line, one.outcome, one.value) != (other.line, other.outcome, other.value):
                text = f"simulated {one.outcome}{_given(one.value)}, "
                text += f"real {other.outcome}{_given(other.value)}"
                yield Difference(f"{scenario.file}:{one.line}", text)
                break
            for fact, value in one.look.items():
                # TCP goes on to show a name that it has given back: only bind() tells.
                if other.look.get(fact) != value and (fact, value) != ("named", False):
                    text = f"{fact} is {value} simulated, {other.look.get(fact)} in reality"
                    why = MOMENT if _meanwhile(one.look, other.look) else ""
                    yield Difference(f"{scenario.file}:{one.line}", text, why)
        if len(ours) != len(theirs):
            yield Difference(place, f"{len(ours)} calls simulated, {len(theirs)} real")
        if simulation.stuck.get(actor.name) != played.blocked.get(actor.name):
            lines = simulation.stuck.get(actor.name), played.blocked.get(actor.name)
            yield Difference(place, "blocked for ever: line {} simulated, {} real".format(*lines))


def _meanwhile(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether what the peer sends leads from one look to the other."""
    states = str(one.get("tcp", "")), str(other.get("tcp", ""))
    return states[1] in _coming(states[0]) or states[0] in _coming(states[1])


@cache
def _coming(state: str) -> frozenset[str]:
    """The TCP states that arriving segments lead to."""
    from sockfsm.model.rfc9293 import TABLE

    found, todo = {state}, [state]
    while todo:
        at = todo.pop()
        for entry in TABLE.rules:
            if entry.call.startswith("rcv") and entry.when[0].holds(at):
                after = TABLE.after(entry, (at,))[0]
                if after not in found:
                    found.add(after)
                    todo.append(after)
    return frozenset(found - {state})


def _given(value: bytes | None) -> str:
    return "" if value is None else f" ({value[:40]!r}, {len(value)} bytes)"


def _calls(calls: Iterable[Call]) -> list[Call]:
    """An actor's own calls; a socket of an earlier run may be collected meanwhile."""
    return [call for call in calls if call.method not in _ASIDE]


def _said(call: Call) -> str:
    return f"{call.method} = {call.outcome}, then {call.after}"
