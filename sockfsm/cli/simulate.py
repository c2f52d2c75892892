"""`sockfsm simulate`: a scenario, or real programs, on the virtual kernel."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.sim.network import Rules
    from sockfsm.trace.source import TraceSource

_EXAMPLES = """examples:
  sockfsm simulate server.py client.py   run both, unmodified, in virtual time
  sockfsm simulate "server.py --port 80" client.py --seed 7 -o trace
  sockfsm simulate "-m http.server" fetch.py
  sockfsm simulate server.py client.py --host server=10.0.0.1 --network "latency 20ms, loss 5%"
  sockfsm handshake trace                ... and all else that reads a trace
  sockfsm simulate --list                the scenarios that ship
  sockfsm simulate lost-syn              play one and show it
  sockfsm simulate lost-syn --step       step through it, forward and back; needs sockfsm[step]

programs:
  They run in one process, in an order that the seed decides: the same seed gives the same trace. A
  program starts 100 ms after the one before it. sleep() and timeouts take no time. Random numbers and
  the clock are the simulation's. When one has ended and the others only wait for clients, they get
  Ctrl-C. What cannot be simulated (child processes, TLS, signals) is named at the call.
  Exit status 1 where an exception leaves a program, it ends by another status than 0, or somebody
  is blocked for ever.

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
  one on a host of its own (IPv6: `at [::1]:`). `s.set reuse`, `nodelay`, `linger 5`, `keepalive 60`,
  `rcvbuf 4096`, `sndbuf 4096` set options. At the top stand `expect deadlock` and the network:
  `network latency 20ms, jitter 3ms, bandwidth 1Mbit, loss 5%, duplication 1%, reorder 2%, drop syn 2,
  partition 1s 3s`. It holds within a host, too.
"""
_UNMET = 1
_PATIENCE = 20.0
_CALLS, _SECONDS = 1_000_000, 86_400.0


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="play a scenario or programs without a kernel, in virtual time",
        description="Play a scenario, or run Python programs, by the machines' rules, with no kernel"
        " and in virtual time; show the timeline. The same seed gives the same run. Exit status 1"
        " where something was not as the scenario expects, a program failed, or somebody is blocked"
        " for ever.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", metavar="X", nargs="*", help="a scenario (a file, or one that ships), or programs"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios that ship")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N",
        help="of the schedule, sequence numbers, ports, losses and random numbers",
    )  # fmt: skip
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME=ADDRESS",
        help="what NAME resolves to; a program of that name (server: server.py) runs there",
    )  # fmt: skip
    parser.add_argument(
        "--network",
        default="",
        metavar="RULES",
        help="between hosts, as in a scenario",
    )
    parser.add_argument(
        "--together", action="store_true", help="start all programs at the same time"
    )
    parser.add_argument(
        "--most-calls", type=int, default=_CALLS, metavar="N", help="stop after N calls"
    )
    parser.add_argument(
        "--most-time",
        type=float,
        default=_SECONDS,
        metavar="S",
        help="stop after S simulated seconds",
    )
    parser.add_argument(
        "--step", action="store_true", help="step through a scenario in the terminal"
    )
    parser.add_argument("-o", dest="output", metavar="FOLDER", help="keep the trace there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Play and show it. UsageError for what cannot be read."""
    from sockfsm.errors import UsageError
    from sockfsm.sim.shipped import load, names

    if args.list:
        width = max(map(len, names()))
        for name in names():
            print(f"{name:{width}}  {load(name).title}")
        return 0
    if not args.what:
        raise UsageError("nothing to run: name programs, or one of `sockfsm simulate --list`")
    if any(_program(what) for what in args.what):
        if args.step:
            raise UsageError("--step is for scenarios: programs cannot be stepped through")
        return _programs(args)
    if len(args.what) > 1:
        raise UsageError("one scenario at a time; programs are files that end in .py, or `-m NAME`")
    return _stepped(args) if args.step else _scenario(args)


def _program(what: str) -> bool:
    words = what.split()
    python = words[:1] in (["python"], ["python3"], ["-m"])
    return python or any(word.endswith(".py") for word in words[:1])


def _scenario(args: argparse.Namespace) -> int:
    from sockfsm.cli.ladder import print_ladder
    from sockfsm.sim.run import Simulation
    from sockfsm.sim.shipped import load

    scenario = load(args.what[0])
    if args.network:
        scenario.network = network_of(args.network)
    simulation = Simulation(scenario, args.seed)
    trace = simulation.run()
    _keep(trace, args.output)
    print_ladder(trace)
    for failure in simulation.failures:
        expected = failure not in simulation.unmet
        print(f"{'as expected: ' if expected else ''}{failure}", file=sys.stderr)
    if simulation.unmet and not simulation.failures:
        print(*simulation.unmet, sep="\n", file=sys.stderr)
    return _UNMET if simulation.unmet else 0


def _stepped(args: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from sockfsm.errors import UsageError
    from sockfsm.sim.shipped import load
    from sockfsm.sim.stepping.stepper import Stepper

    stepper = Stepper(load(args.what[0]), args.seed)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError("--step needs a terminal; without it the whole run is shown")
    if find_spec("textual") is None:
        raise UsageError("--step needs textual: pip install 'sockfsm[step]'")
    from sockfsm.step.app import Stepping

    view = Stepping(stepper, f"sockfsm simulate {args.what[0]} --step")
    view.run()
    if args.output is not None:
        _keep(stepper.trace(), args.output)
    for failure in stepper.unmet:
        print(failure, file=sys.stderr)
    return view.return_code or (_UNMET if stepper.unmet else 0)


def _programs(args: argparse.Namespace) -> int:
    _without_chance()
    from sockfsm.cli.ladder import print_ladder
    from sockfsm.sim.programs.run import STAGGER, Program, Setting, simulate
    from sockfsm.sim.programs.world import Limits

    setting = Setting(
        args.seed, _hosts(args.host), network_of(args.network),
        Limits(
            _positive(args.most_calls), _PATIENCE, round(_positive(args.most_time) * 1e9)
        ),
        0 if args.together else STAGGER,
    )  # fmt: skip
    programs = [Program.parse(what) for what in args.what]
    result = simulate(programs, setting, emit=_written)
    _keep(result.trace, args.output)
    print_ladder(result.trace)
    for finding in result.findings:
        print(finding, file=sys.stderr)
    for name, status in result.statuses:
        if status is None:
            print(f"{name} was still running", file=sys.stderr)
        elif status:
            print(f"{name} ended with status {status}", file=sys.stderr)
    return 0 if result.good else _UNMET


def _without_chance() -> None:
    """Begin again where the order of sets of strings would be left to chance."""
    ours = sys.argv[0].endswith(("/bin/sockfsm", "/sockfsm/__main__.py"))
    if sys.flags.hash_randomization and ours:
        sys.stdout.flush()
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})


def _written(name: str, stream: str, line: str) -> None:
    from sockfsm.views.text import plain

    print(f"{name} | {plain(line)}", file=sys.stderr if stream == "stderr" else sys.stdout)


def _positive(value: float) -> int:
    from sockfsm.errors import UsageError

    if not 0 < value < 1e12:
        raise UsageError(f"a limit is a number above 0, and {value:g} is not")
    return value  # type: ignore[return-value]


def _hosts(given: list[str]) -> dict[str, str]:
    import socket

    from sockfsm.errors import UsageError

    hosts = {}
    for text in given:
        name, _, address = text.partition("=")
        try:
            hosts[name] = socket.inet_ntoa(socket.inet_aton(address))
        except OSError:
            raise UsageError(f"--host {text}: is not NAME=ADDRESS, as server=10.0.0.1") from None
        if not name:
            raise UsageError(f"--host {text}: is not NAME=ADDRESS, as server=10.0.0.1")
    return hosts


def network_of(text: str) -> Rules:
    """The rules of a network. UsageError where they cannot be read."""
    from sockfsm.sim.network import Rules
    from sockfsm.sim.scenario import parse

    # A scenario needs an actor.
    return parse(f"network {text}\nprograms:\n", "--network").network if text else Rules()


def _keep(trace: TraceSource, folder: str | None) -> None:
    if folder is not None:
        from sockfsm.trace.encode import save

        save(trace, folder)
