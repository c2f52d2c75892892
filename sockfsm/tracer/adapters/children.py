"""`subprocess` and `multiprocessing`: a child that they start may inherit every socket that is open."""

from __future__ import annotations

import _posixsubprocess
from types import ModuleType
from typing import Any

from sockfsm.tracer.adapters.standing_in import named
from sockfsm.tracer.elsewhere import share

_original = _posixsubprocess.fork_exec


def _fork_exec(*args: Any) -> Any:
    share()
    try:
        return _original(*args)
    finally:
        share()


def places(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """The function of C by which both begin a process; `subprocess` has a name of its own for it."""
    stand_in = named(_fork_exec, _original)
    found: list[tuple[Any, str, Any]] = []
    if vars(module).get("_fork_exec") is _original:
        found.append((module, "_fork_exec", stand_in))
    if _posixsubprocess.fork_exec is _original:
        found.append((_posixsubprocess, "fork_exec", stand_in))
    return found
