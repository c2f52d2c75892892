"""States of a scenario explored: how many a second, in how many bytes, and that it is linear.

    python tests/benchmarks/bench_explore.py [--quick]

Philosophers: clients that take two locks each, which servers hold. The baseline walks as many states
that are bare tuples. Seconds are of the processor: the machine may be shared.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from sockfsm.sim.explore.search import Options, explore
from sockfsm.sim.scenario import Scenario, parse

LARGE, SMALL = (20_000, 4_000) if "--quick" in sys.argv else (150_000, 30_000)
_LOCKS = "pen", "paper", "ink", "sand"


def table(seats: int) -> Scenario:
    """So many philosophers, one of them left-handed."""
    text = ""
    for lock in _LOCKS[:seats]:
        text += f"{lock}:\n    l = socket unix-stream\n    l.bind {lock}.sock\n    l.listen\n"
        text += f"    mark {lock}\n"
        for turn in range(2):
            text += f'    l.accept -> c{turn}\n    c{turn}.send "yours"\n'
            text += f"    c{turn}.recv = end\n    c{turn}.close\n"
        text += "    l.close\n"
    for seat in range(seats):
        pair = [_LOCKS[seat], _LOCKS[(seat + 1) % seats]]
        if not seat:
            pair.reverse()
        text += f"guest{seat}:\n    after {pair[0]}\n    after {pair[1]}\n"
        for name, lock in zip("ab", pair, strict=True):
            text += f"    {name} = socket unix-stream\n    {name}.connect {lock}.sock\n"
            text += f'    {name}.recv = "yours"\n'
        text += "    b.close\n    a.close\n"
    return parse(text)


def row(name: str, value: str, target: str = "") -> None:
    print(f"{name:48} {value:>30}  {target}", flush=True)


def main() -> None:
    small, large = (told("--measure", most) for most in (SMALL, LARGE))
    bare = [told("--bare", most) for most in (SMALL, LARGE)]
    row("states", f"{large['states']:,}")
    rate = large["states"] / large["took"]
    row("explored", f"{rate:,.0f}/s", "target 20,000/s")
    row("bare tuples", f"{bare[1]['states'] / bare[1]['took']:,.0f}/s")
    more = large["states"] - small["states"]
    row(
        "memory of a state", f"{(large['memory'] - small['memory']) / more:.0f} bytes", "target 200"
    )
    more = bare[1]["states"] - bare[0]["states"]
    row("of a bare tuple", f"{(bare[1]['memory'] - bare[0]['memory']) / more:.0f} bytes")
    grown = large["states"] / small["states"]
    ratio = large["took"] / small["took"] / grown
    row(f"{grown:.1f} times as many states", f"x{ratio:.2f} the time of each", "linear: x1")
    whole, reduced = told("--whole", 1), told("--reduced", 1)
    row("three philosophers, all states", f"{whole['states']:,} in {whole['took']:.2f} s")
    row("the same, reduced", f"{reduced['states']:,} in {reduced['took']:.2f} s")


def told(what: str, most: int) -> dict[str, float]:
    """What a process of its own measured, the fastest of three."""
    command = [sys.executable, __file__, what, str(most)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    return dict(min(runs, key=lambda run: float(run["took"])))


def measure(what: str, most: int) -> None:
    begin = time.process_time()
    if what == "--bare":
        states = bare_walk(most)
    elif what == "--measure":
        states = explore(table(4), Options(most=most, reduced=False)).states
    else:
        states = explore(table(3), Options(reduced=what == "--reduced")).states
    took = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"states": states, "took": took, "memory": memory}))


def bare_walk(most: int) -> int:
    """Visit states that are tuples of 60 numbers, each with six successors."""
    first: tuple[int, ...] = (0,) * 60
    seen = {first}
    level = [first]
    while len(seen) <= most:
        longer = []
        for state in level:
            for place in range(6):
                changed = list(state)
                changed[place] += 1
                after = tuple(changed)
                if after not in seen:
                    seen.add(after)
                    longer.append(after)
        level = longer
    return len(seen)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] != "--quick":
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        main()
