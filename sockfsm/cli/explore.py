"""`sockfsm explore`: every schedule of a scenario, and the shortest one to each fault."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.sim.explore.findings import Fault
    from sockfsm.sim.explore.schedule import Replay
    from sockfsm.sim.explore.search import Options
    from sockfsm.sim.scenario import Scenario

_EXAMPLES = """examples:
  sockfsm explore tcp-echo                       a scenario that ships, in all schedules
  sockfsm explore mine.txt -o found              keep the trace and the schedule of each fault
  sockfsm explore mine.txt --replay found/1.schedule
  sockfsm explore mine.txt --losses 2            any two packets may be lost
  sockfsm explore mine.txt --strategy random --runs 5000 --seed 7

faults: deadlock, illegal (a call that the machine refuses), exception, expected (not as the scenario
  expects), open (a socket that is open when its program ends), differs (a call that ends in more than
  one way; `?` in the scenario allows it).

strategies:
  exhaustive  all schedules; of those that differ only in the order of calls that do not meet, one
  bounded     all schedules in which an actor that could go on is interrupted at most --bound times
  pct         --runs schedules by priorities that change --bound - 1 times (PCT)
  random      --runs schedules by chance

A turn is a call, and takes no time; an actor may be as late as it likes, so that any timeout may come
before it. How long a call `blocks` is the schedule's: it is not judged.
"""
_FAULT = 1
_PAUSE = 0.5


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "explore",
        help="search every schedule of a scenario for deadlocks and other faults",
        description="Search the schedules of a scenario: who runs next, which packet is lost, which"
        " timer comes first. Each fault is shown with the shortest schedule that leads to it."
        " Exit status 1 where there is one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="a file, or one that ships")
    parser.add_argument("--strategy", default="exhaustive", metavar="NAME", help="see below")
    parser.add_argument(
        "--bound", type=_count, default=2, metavar="N", help="preemptions, or PCT's depth (2)"
    )
    parser.add_argument(
        "--runs", type=_count, default=1000, metavar="N", help="schedules by chance (1000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what chance decides")
    parser.add_argument(
        "--losses", type=_count, metavar="N",
        help="packets that may be lost in a schedule (0, or 1 where the scenario has `loss`)",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=_count, metavar="STATES", help="stop after so many states (1000000)"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="FAULT", help="a kind not to look for"
    )
    parser.add_argument(
        "-o", dest="output", metavar="FOLDER", help="keep traces and schedules there"
    )
    parser.add_argument("--replay", metavar="FILE", help="run the schedule of a file again")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Search, or replay. UsageError for what cannot be read."""
    from sockfsm.cli.ladder import print_ladder
    from sockfsm.cli.run import folder_for
    from sockfsm.sim.explore import schedule
    from sockfsm.sim.explore.report import lines
    from sockfsm.sim.explore.search import explore
    from sockfsm.sim.shipped import load

    scenario = load(args.scenario)
    if args.output is not None:
        folder_for(args.output)  # before a long search, not after it
    options = _options(args, scenario)
    if args.replay is not None:
        return _replay(args, scenario)
    progress = _Progress(options.most)
    found = explore(scenario, options, progress if sys.stderr.isatty() else None)
    progress.clear()
    for line in lines(scenario, found):
        print(line)
    for number, fault in enumerate(found.faults, 1):
        if args.output is not None or number == 1:
            replayed = schedule.replay(scenario, fault.turns, options.losses)
        if args.output is not None:
            _keep_fault(args, scenario, options, number, fault, replayed)
        if number == 1:
            first = replayed
    if found.faults:
        print(f"\n{found.faults[0].kind}, the schedule of 1.:")
        print_ladder(first.trace)
    return _FAULT if found.faults else 0


def _replay(args: argparse.Namespace, scenario: Scenario) -> int:
    from sockfsm.cli.ladder import print_ladder
    from sockfsm.sim.explore import schedule

    turns, losses = schedule.read(args.replay, scenario)
    replayed = schedule.replay(scenario, turns, losses, args.replay)
    if args.output is not None:
        _keep(replayed, args.output)
    print_ladder(replayed.trace)
    for failure in replayed.failures:
        print(failure, file=sys.stderr)
    return _FAULT if replayed.failures else 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number is expected, not {text!r}")
    return int(text)


def _options(args: argparse.Namespace, scenario: Scenario) -> Options:
    from sockfsm.errors import UsageError
    from sockfsm.sim.explore.findings import KINDS
    from sockfsm.sim.explore.search import MOST_STATES, STRATEGIES, Options

    if args.strategy not in STRATEGIES:
        raise UsageError(f"no strategy {args.strategy!r}: there are {', '.join(STRATEGIES)}")
    for kind in args.ignore:
        if kind not in KINDS:
            raise UsageError(f"no kind of fault {kind!r}: there are {', '.join(KINDS)}")
    losses = args.losses if args.losses is not None else int(scenario.network.loss > 0)
    most = args.most if args.most is not None else MOST_STATES
    return Options(
        args.strategy, args.bound, args.runs, args.seed, losses, most, frozenset(args.ignore)
    )


def _keep_fault(
    args: argparse.Namespace, scenario: Scenario, options: Options, number: int, fault: Fault,
    replayed: Replay,
) -> None:  # fmt: skip
    from pathlib import Path

    from sockfsm.sim.explore import schedule

    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    _keep(replayed, str(folder / str(number)))
    text = schedule.written(scenario, fault.turns, options.losses, replayed.told)
    file = folder / f"{number}.schedule"
    schedule.save(file, text)
    print(f"{number}.: sockfsm explore {args.scenario} --replay {file}")


def _keep(replayed: Replay, folder: str) -> None:
    from sockfsm.trace.encode import save

    save(replayed.trace, folder)


class _Progress:
    """Says on a terminal how far the search is, how fast, and how long it may take."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin = self._last = time.monotonic()
        self._shown = False

    def __call__(self, done: int, of: int | None, what: str) -> None:
        now = time.monotonic()
        if now - self._last < _PAUSE:
            return
        self._last = now
        print(
            f"\r{said(done, of, what, now - self._begin, self._most)}\033[K",
            end="",
            file=sys.stderr,
        )
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Leave the line to what follows."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr)
            sys.stderr.flush()


def said(done: int, of: int | None, what: str, passed: float, most: int) -> str:
    """How far a search is."""
    rate = done / passed
    left = ((most if of is None else of) - done) / rate
    many = f"{done:,}" if of is None else f"{done:,} of {of:,}"
    return f"{many} {what}, {rate:,.0f}/s, {'at most ' if of is None else ''}{left:,.0f} s left"
