"""What cannot be simulated: named at the call, never done to the real machine."""

from __future__ import annotations

from typing import NoReturn

from sockfsm.sim.programs import current
from sockfsm.sim.programs.sites import called, site


class NotSimulated(NotImplementedError):  # noqa: N818 - what it is
    """The simulator has no such thing: raised where the program asks for it."""

    __module__ = "sockfsm"


def refuse(what: str) -> NoReturn:
    """Raise NotSimulated, and remember it: the program may catch it."""
    via = called()
    text = f"{via} cannot be simulated" if via else f"{what} cannot be simulated"
    if via and via.rpartition(".")[2] != what.rpartition(".")[2]:
        text += f" ({what})"
    world = current.world()
    if world is not None:
        world.found("unsupported", site(), text)
    raise NotSimulated(text)


def refusing(what: str) -> object:
    """A function that stands for `what` and refuses."""

    def function(*_: object, **__: object) -> NoReturn:
        refuse(what)

    function.__name__ = function.__qualname__ = what.rpartition(".")[2]
    return function
