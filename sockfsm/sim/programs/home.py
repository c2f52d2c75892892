"""Where virtual modules find their process: they outlive it when many runs share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.sim.programs.process import Process
    from sockfsm.sim.programs.world import World


class Home:
    """The process of the current run, and its world."""

    __slots__ = ("process", "world")
    process: Process
    world: World
