"""`sockfsm play`: a scenario with real sockets, traced and captured."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockfsm.cli.main import Subparsers
    from sockfsm.sim.play import Played
    from sockfsm.sim.scenario import Scenario

_EXAMPLES = """examples:
  sockfsm play tcp-echo                  one that ships
  sockfsm play mine.txt -o trace         keep the trace, for `sockfsm handshake` and all else

The actors are threads in a network namespace with nothing but a loopback. Where the scenario has a
network, each host is a namespace of its own, and what goes from one to the other is delayed and dropped
as the scenario says. TCP's timestamps, SACK and window scaling are off there.
"""
_UNMET = 1
_SLACK = 250_000_000
"""ns by which a real wait may be longer than it was to be: others run on this machine, too."""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "play",
        help="play a scenario with real sockets",
        description="Play a scenario with real sockets, traced and captured, and show its timeline."
        " Exit status 1 where something was not as the scenario expects, or somebody stayed blocked.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="a file, or one that ships")
    parser.add_argument(
        "--network", default="", metavar="RULES", help="in place of the scenario's line `network`"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the network's losses")
    parser.add_argument("-o", dest="output", metavar="FOLDER", help="keep the trace there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Play and show it. UsageError for a scenario that cannot be read or played."""
    from sockfsm.cli.ladder import print_ladder
    from sockfsm.cli.run import folder_for
    from sockfsm.cli.simulate import network_of
    from sockfsm.sim.shipped import load
    from sockfsm.trace.trace import Trace

    scenario = load(args.scenario)
    if args.network:
        scenario.network = network_of(args.network)
    with tempfile.TemporaryDirectory(prefix="sockfsm-") as spare:
        folder = folder_for(args.output or f"{spare}/trace")
        played = perform(scenario, folder, args.seed)
        print_ladder(Trace.open(folder))
    unmet = list(_unmet(scenario, played))
    for line in unmet:
        print(line, file=sys.stderr)
    return _UNMET if unmet else 0


def _unmet(scenario: Scenario, played: Played) -> Iterator[str]:
    from sockfsm.sim.run import judge

    for actor in scenario.actors:
        steps = {step.line: step for step in actor.steps}
        for ended in played.ended[actor.name]:
            found = judge(steps[ended.line], ended.outcome, ended.value, ended.lasted, _SLACK)
            for text in found:
                yield f"{scenario.file}:{ended.line}: {text}"
        line = played.blocked.get(actor.name)
        if line is not None and not scenario.deadlock:
            yield f"{scenario.file}:{line}: {actor.name} stayed blocked"
    if scenario.deadlock and not played.blocked:
        yield f"{scenario.file}: a deadlock was to come, and did not"


def perform(scenario: Scenario, folder: str | Path, seed: int = 0) -> Played:
    """Play it in a process of its own, which leaves the trace in a new folder.

    UsageError where it cannot be played.
    """
    # spawn: our caller may have threads, and only a single one may enter a namespace.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(on_stage, scenario, str(folder), seed).result()


def on_stage(scenario: Scenario, folder: str, seed: int) -> Played:
    """Play it in this process, which has to end afterwards."""
    from sockfsm.sim.play import play
    from sockfsm.sim.wires import Alone, Wires, wanted
    from sockfsm.trace.encode import save
    from sockfsm.trace.source import MemoryTrace
    from sockfsm.tracer.block import tracing

    hosts = list(dict.fromkeys(actor.host for actor in scenario.actors))
    if not wanted(hosts, scenario.network):
        inet = any(step.kind in ("tcp", "udp") for a in scenario.actors for step in a.steps)
        if not inet:
            with tracing(folder):
                return play(scenario)
        with Alone() as stage, tracing(folder, capture=True):
            return play(scenario, stage)
    with tempfile.TemporaryDirectory(prefix="sockfsm-") as spare:
        with (
            Wires(hosts, scenario.network, seed) as wires,
            tracing(f"{spare}/trace") as trace,
        ):
            played = play(scenario, wires)
        calls, blocked, processes = list(trace.calls()), trace.blocked(), trace.processes
        save(MemoryTrace(calls, wires.packets, blocked=blocked, processes=processes), folder)
    return played
