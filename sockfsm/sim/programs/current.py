"""The world that runs. One runs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockfsm.sim.programs.world import World

_worlds: list[World] = []


def world() -> World | None:
    """The world that runs now."""
    return _worlds[-1] if _worlds else None


def enter(made: World) -> None:
    """It begins to run."""
    _worlds.append(made)


def leave() -> None:
    """It has ended."""
    _worlds.pop()
