"""Compiled machines, stored in a folder: the processes that share it compile each kind once.

Compiling takes a tenth of a second and leaves thousands of objects to the garbage collector; a
program that starts many Pythons should not pay that in each.
"""

from __future__ import annotations

import json
import os

from sockfsm.model.compiled import Compiled

PREFIX = ".machine-"


def stored(folder: str, kind: str) -> Compiled:
    """The shared machine of a kind, compiled; from `folder` if another process left it there."""
    path = os.path.join(folder, f"{PREFIX}{kind}.json")
    try:
        with open(path, encoding="utf-8") as file:
            return Compiled(**json.load(file))
    except (OSError, ValueError, TypeError):
        compiled = _compile(kind)
    try:
        fresh = f"{path}.{os.getpid()}"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(compiled.data(), file)
        os.replace(fresh, path)
    except OSError:
        return compiled  # nowhere to leave it: the next process compiles for itself
    return compiled


def _compile(kind: str) -> Compiled:
    from sockfsm.model.executed import build
    from sockfsm.model.flat import FlatMachine
    from sockfsm.model.kinds import table_of

    # Not `machine_of`: what that makes would stay.
    return Compiled.of(build(FlatMachine(table_of(kind))))
