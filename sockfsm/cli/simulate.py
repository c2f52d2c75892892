"""`sockfsm simulate`: a scenario on the virtual kernel, shown and kept as an ordinary trace."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.trace.source import TraceSource

_EXAMPLES = """examples:
  sockfsm simulate --list                the scenarios that ship
  sockfsm simulate lost-syn              play one and show it
  sockfsm simulate mine.txt --seed 7 -o trace
  sockfsm handshake trace                ... and all else that reads a trace

a scenario:
  server:
      s = socket tcp
      s.bind 7000
      s.listen
      mark listening
      s.accept -> conn blocks
      conn.recv = "hi"

  client:
      after listening
      c = socket tcp
      c.recv ! ENOTCONN
      c.connect 7000
      c.send "hi"
  Kinds: tcp, udp, unix-stream, unix-dgram. Expectations: `! ERRNO` or `! timeout`, `= "bytes"`,
  `= end`, `-> name` of accept, `blocks` or `blocks 20ms`, `?` for any outcome; without one the call
  must not be refused. `wait 10ms`, `mark x` and `after x` order the actors; `name at 10.0.0.1:` places
  one on a host of its own; `network latency 20ms, drop syn 2, loss 5%, duplication 1%, jitter 3ms` and
  `expect deadlock` stand at the top. The network's latency holds within a host, too.
"""
_UNMET = 1


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="play a scenario without a kernel, in virtual time",
        description="Play a scenario by the machines' rules, with no kernel and in virtual time; show"
        " its timeline. The same seed gives the same run. Exit status 1 where something was not as"
        " the scenario expects, or somebody is blocked for ever.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", nargs="?", help="a file, or one that ships")
    parser.add_argument("--list", action="store_true", help="list the scenarios that ship")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of sequence numbers, ports and losses"
    )
    parser.add_argument("-o", dest="output", metavar="FOLDER", help="keep the trace there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Play and show it. UsageError for a scenario that cannot be read."""
    from sockfsm.errors import UsageError
    from sockfsm.sim.run import Simulation
    from sockfsm.sim.shipped import load, names

    if args.list:
        width = max(map(len, names()))
        for name in names():
            print(f"{name:{width}}  {load(name).title}")
        return 0
    if args.scenario is None:
        raise UsageError("no scenario: name a file, or one of `sockfsm simulate --list`")
    simulation = Simulation(load(args.scenario), args.seed)
    trace = simulation.run()
    if args.output is not None:
        from sockfsm.trace.encode import save

        save(trace, args.output)
    _show(trace)
    sys.stdout.flush()
    for failure in simulation.failures:
        expected = failure not in simulation.unmet
        print(f"{'as expected: ' if expected else ''}{failure}", file=sys.stderr)
    if simulation.unmet and not simulation.failures:
        print(*simulation.unmet, sep="\n", file=sys.stderr)
    return _UNMET if simulation.unmet else 0


def _show(trace: TraceSource) -> None:
    from sockfsm.cli.pager import columns
    from sockfsm.views.glyphs import glyphs_for
    from sockfsm.views.ladder import Ladder
    from sockfsm.views.text import paint_for

    ladder = Ladder(trace, paint_for(sys.stdout), glyphs_for(sys.stdout), columns())
    for line in ladder.lines():
        print(line)
