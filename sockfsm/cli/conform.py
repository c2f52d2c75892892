"""`sockfsm conform`: compares the machines with the running kernel, sequence by sequence."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS

if TYPE_CHECKING:
    from sockfsm.cli.main import Subparsers
    from sockfsm.conform.compare import Share
    from sockfsm.conform.suites import Suite

_EXAMPLES = """examples:
  sockfsm conform                       every kind in the reference environment, depth 4
  sockfsm conform tcp --depth 6 --keep tcp.progress
                                        deeper; after an interruption it resumes
  sockfsm conform udp --all             in every other environment as well
  sockfsm conform tcp --suite "peer resets"
  sockfsm conform --all --traced        compare the tracer of these sockets as well
  sockfsm conform --random 100000 --seed 7
                                        random calls among live peers
  sockfsm conform --random 500 --enforce
                                        what enforce stops, the kernel must refuse
  sockfsm conform --random 1000 --with threads
                                        two threads on one socket (or --with tls)
  sockfsm conform --shown               outcomes that need a stage: a lost packet, a signal, a firewall

Every sequence of calls up to the depth is run on real sockets, on loopback. Each outcome is
compared, and in the reference environment also what can be seen from outside afterwards: name,
peer, listening, TCP state, pending error. The status is 1 when something disagrees.
"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "conform",
        help="compare the machines with the running kernel",
        description="Run every sequence of calls up to a depth on the running kernel and compare "
        "each outcome with the model's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", default="", help=", ".join(KINDS))
    parser.add_argument("--depth", type=int, default=4, metavar="N", help="calls (default 4)")
    parser.add_argument("--all", action="store_true", help="every environment")
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="this environment (repeatable)"
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes at a time")
    parser.add_argument("--keep", metavar="FILE", help="keep the progress here, and resume from it")
    parser.add_argument(
        "--traced", action="store_true", help="trace the sockets, and compare what the tracer says"
    )
    parser.add_argument(
        "--random",
        type=int,
        metavar="N",
        help="run N random sequences of 10 to 25 calls among live peers instead",
    )
    parser.add_argument(
        "--enforce",
        action="store_true",
        help="with --random: in enforce mode; the kernel is asked about every call that is stopped",
    )
    parser.add_argument(
        "--shown",
        action="store_true",
        help="produce, one by one, the outcomes that no sequence reaches by itself, and say which "
        "rules are proved (as root also those that need a network of their own)",
    )
    parser.add_argument(
        "--with",
        dest="way",
        choices=("threads", "tls"),
        default="",
        help="with --random: traced, with two threads calling at the same time, or with TLS",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="for --random (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print. UsageError for an unknown kind or suite, or a bad depth."""
    from sockfsm.conform.runner import run as compare_all
    from sockfsm.conform.suites import REFERENCE, suites

    if args.kind and args.kind not in KINDS:
        raise UsageError(f"no kind {args.kind!r}: choose one of {', '.join(KINDS)}")
    if args.jobs < 0:
        raise UsageError(f"--jobs {args.jobs} is no number of processes")
    if args.enforce and not args.random:
        raise UsageError("--enforce is for random sequences: add --random N")
    if args.way and (not args.random or args.enforce):
        raise UsageError(f"--with {args.way} is for random sequences that are observed: --random N")
    if args.shown:
        return _shown(args)
    if args.random is not None:
        return _random(args)
    names = tuple(args.suite) if args.suite or args.all else (REFERENCE,)
    chosen = suites(args.kind, names)
    bar = _Bar() if sys.stderr.isatty() else None
    began = time.monotonic()
    try:
        results = compare_all(
            chosen,
            args.depth,
            jobs=args.jobs,
            memory=args.keep,
            traced=args.traced,
            progress=bar.show if bar is not None else None,
        )
    finally:
        if bar is not None:
            bar.clear()
    if args.json:
        print(json.dumps(_as_json(results, args.depth), indent=2))
    else:
        _print(chosen, results, args.depth, time.monotonic() - began)
    return 1 if any(share.disagreements for share in results.values()) else 0


def _random(args: argparse.Namespace) -> int:
    from sockfsm.conform.runner import run_random

    if args.random < 1:
        raise UsageError(f"--random {args.random} is none: it counts sequences, from 1")
    if args.suite or args.all or args.keep:
        raise UsageError("--random brings its own environments: not with --suite, --all or --keep")
    bar = _Bar() if sys.stderr.isatty() else None
    began = time.monotonic()
    try:
        faults = run_random(
            args.kind,
            args.random,
            args.seed,
            jobs=args.jobs,
            way=args.way or ("enforce" if args.enforce else "traced" if args.traced else ""),
            progress=bar.show if bar is not None else None,
        )
    finally:
        if bar is not None:
            bar.clear()
    seconds = round(time.monotonic() - began, 1)
    if args.json:
        told = [{"kind": f.kind, "number": f.number, "what": f.what,
                 "steps": list(map(str, f.steps))} for f in faults]  # fmt: skip
        report = {"kernel": platform.release(), "sequences": args.random, "seed": args.seed}
        print(json.dumps({**report, "seconds": seconds, "faults": told}, indent=2))
    else:
        print(
            f"Linux {platform.release()}, {args.random:,} random sequences, seed {args.seed}, "
            f"{seconds} s: {len(faults)} faults"
        )
        for fault in faults:
            print(f"\n{fault}")
    return 1 if faults else 0


def _shown(args: argparse.Namespace) -> int:
    from sockfsm.conform.coverage import proof
    from sockfsm.conform.shown import attempt_all

    if args.suite or args.all or args.keep or args.random:
        raise UsageError("--shown has its own stages: not with --suite, --all, --random, ...")
    bar = _Bar() if sys.stderr.isatty() else None
    began = time.monotonic()
    try:
        results = attempt_all(args.kind, args.traced, bar.show if bar is not None else None)
    finally:
        if bar is not None:
            bar.clear()
    seconds = round(time.monotonic() - began, 1)
    proofs = [proof(kind) for kind in KINDS if args.kind in ("", kind)]
    wrong = [fault for result in results for fault in result.faults]
    absent = [f"{result.title}: {result.absent}" for result in results if result.absent]
    if args.json:
        told = [{"kind": p.kind, "rules": p.rules, "suites": p.suites, "shown": p.shown,
                 "unproved": p.unproved} for p in proofs]  # fmt: skip
        report = {"kernel": platform.release(), "seconds": seconds, "showings": len(results),
                  "faults": wrong, "absent": absent, "coverage": told}  # fmt: skip
        print(json.dumps(report, indent=2))
        return 1 if wrong else 0
    print(
        f"Linux {platform.release()}, {len(results)} showings, {seconds} s: {len(wrong)} differ, "
        f"{len(absent)} cannot be had here\n"
    )
    print(f"{'kind':12} {'rules':>6} {'by sequences':>13} {'by showings':>12} {'by neither':>11}")
    for p in proofs:
        print(f"{p.kind:12} {p.rules:6} {p.suites:13} {p.shown:12} {len(p.unproved):11}")
    for p in proofs:
        if p.unproved:
            print(f"\n{p.kind}, by neither:", *p.unproved, sep="\n  ")
    for line in (*wrong, *absent):
        print(f"\n{line}")
    return 1 if wrong else 0


class _Bar:
    """One line on a terminal's standard error."""

    def show(self, done: int, total: int, title: str) -> None:
        """Draw it."""
        filled = 30 * done // total
        bar = "#" * filled + "." * (30 - filled)
        sys.stderr.write(f"\r\x1b[K[{bar}] {100 * done // total:3}%  {title}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Clear the line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _print(chosen: list[Suite], results: dict[str, Share], depth: int, seconds: float) -> None:
    print(f"Linux {platform.release()}, every sequence of up to {depth} calls, {seconds:.1f} s\n")
    print(f"{'kind':12} {'environment':32} {'sequences':>10} {'outcomes':>10} {'seen':>10}  differ")
    for suite in chosen:
        share = results[suite.title]
        print(
            f"{suite.kind:12} {suite.name:32} {share.sequences:10,} {share.outcomes:10,} "
            f"{share.facts:10,}  {len(share.disagreements)}"
        )
    for suite in chosen:
        for found in sorted(results[suite.title].disagreements, key=lambda d: len(d.calls)):
            print(
                f"\n{suite.title}: {' '.join(found.calls)}\n"
                f"  {found.what} in {found.state}: the model says {found.model}, "
                f"the kernel {found.kernel}"
            )


def _as_json(results: dict[str, Share], depth: int) -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "depth": depth,
        "suites": {
            title: {
                "sequences": share.sequences,
                "outcomes": share.outcomes,
                "facts": share.facts,
                "disagreements": [
                    {
                        "calls": list(d.calls),
                        "state": d.state,
                        "what": d.what,
                        "model": d.model,
                        "kernel": d.kernel,
                    }
                    for d in share.disagreements
                ],
            }
            for title, share in results.items()
        },
    }
