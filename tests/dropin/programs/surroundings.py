"""Sockets in hostile surroundings; one line says what came of each step.

    surroundings.py NAME

Each function of the modules below is a surrounding. What the program does to itself comes before its
first socket, or between two of them.
"""

from __future__ import annotations

import faulthandler
import sys
from types import ModuleType

import crowded
import poor
import replaced

AS_ROOT = {"chroot", "nobody", "real_nobody"}
"""Need rights that not everybody has."""
INSTALLED = {
    "freezegun_used": "freezegun",
    "time_machine_used": "time_machine",
    "gevent_patched": "gevent",
    "eventlet_patched": "eventlet",
}
"""Need a library that may be missing."""


def _surroundings(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and not getattr(getattr(value, "__code__", None), "co_argcount", 1)
        and not name.startswith("_")
    ]


MODULES = {name: module for module in (poor, replaced, crowded) for name in _surroundings(module)}
NAMES = list(MODULES)


def main(name: str) -> None:
    """One surrounding."""
    faulthandler.dump_traceback_later(540, exit=True)
    try:
        getattr(MODULES[name], name)()
    finally:
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(sys.argv[1])
