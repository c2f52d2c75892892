"""A lifecycle as SVG, against plain `dot -Tsvg` of the same DOT; interleaved, medians, one run.

python tests/benchmarks/bench_diagrams.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from sockfsm.diagrams.dot import to_dot
from sockfsm.diagrams.lifecycle import lifecycle
from sockfsm.diagrams.render import draw
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import KINDS, flat_of

LIMIT_MS = 25.0


def milliseconds(work: Callable[[], object]) -> float:
    """How long one `work()` takes."""
    begin = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begin) / 1e6


def _ours(flat: FlatMachine) -> object:
    return draw(lifecycle(flat), "svg")


def _text(flat: FlatMachine) -> str:
    return to_dot(lifecycle(flat))


def main(rounds: int) -> None:
    """Print a line for each kind: ours, the graph and text alone, plain dot, and the ratio."""
    for kind in KINDS:
        flat = flat_of(kind)
        dot = to_dot(lifecycle(flat)).encode()
        works: dict[str, Callable[[], object]] = {
            "ours": partial(_ours, flat),
            "text": partial(_text, flat),
            "dot": partial(
                subprocess.run, ["dot", "-Tsvg"], input=dot, capture_output=True, check=True
            ),
        }
        measured: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(rounds + 3):
            for name, work in works.items():
                taken = milliseconds(work)
                if turn >= 3:
                    measured[name].append(taken)
        ours, text, plain = (statistics.median(measured[name]) for name in ("ours", "text", "dot"))
        print(
            f"lifecycle of {kind:12} as SVG: {ours:5.1f} ms (limit {LIMIT_MS:.0f}), of it graph and "
            f"DOT {text:4.1f} ms; plain dot {plain:5.1f} ms; ratio {ours / plain:.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
