"""The real clocks. Libraries that stop the time for tests (freezegun) search every module's attributes
for the functions of `time` and put their own in their place; a class's they leave alone."""

from __future__ import annotations

import time


class Clocks:
    """`time.monotonic_ns` and `time.time_ns` as they were when sockfsm was loaded."""

    monotonic = time.monotonic_ns
    wall = time.time_ns


def clock_pair() -> tuple[int, int]:
    """(monotonic, wall) of one moment in ns; the closest of five readings."""
    best = (1 << 62, 0, 0)
    for _ in range(5):
        before, wall, after = Clocks.monotonic(), Clocks.wall(), Clocks.monotonic()
        best = min(best, (after - before, (before + after) // 2, wall))
    return best[1], best[2]
