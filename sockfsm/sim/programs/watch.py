"""Ends a run from outside: Ctrl-C, and a program that computes without ever making a call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from sockfsm.sim.programs.sites import site_of

if TYPE_CHECKING:
    from sockfsm.sim.programs.world import World

_LOOKS = 4
"""How often to look within the patience."""


@contextmanager
def watched(world: World, patience: float) -> Iterator[None]:
    """While a world runs. patience: real seconds without a call, 0 for no watching.

    Only the main thread can be told by signals; who runs worlds elsewhere bounds them himself.
    """
    if not patience or threading.current_thread() is not threading.main_thread():
        yield
        return
    last, seen = world.calls, 0

    def interrupted(number: int, frame: FrameType | None) -> None:
        world.halt("limit", site_of(frame), "stopped by Ctrl-C")

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal last, seen
        now = world.calls + world.clock.events
        last, seen = now, seen + 1 if now == last else 0
        if seen > _LOOKS:
            text = f"stopped after {patience:g} s in which nothing was called that waits or looks"
            world.halt("limit", site_of(frame), f"{text} at the clock: it may never end")

    before = signal.signal(signal.SIGINT, interrupted), signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, patience / _LOOKS, patience / _LOOKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGALRM, before[1])
