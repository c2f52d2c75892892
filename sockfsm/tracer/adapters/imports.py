"""Being told when a module has been imported, without a trace in `sys.meta_path` or in tracebacks.

All of Python's own loaders of source run a module by one method, `_LoaderBasics.exec_module`. We
stand in its place under its name and file, so that the import system, which cuts its own frames out
of tracebacks, cuts ours out too.
"""

from __future__ import annotations

import importlib._bootstrap_external
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_external: Any = importlib._bootstrap_external
_plain = _external._LoaderBasics.exec_module


def watch(seen: Callable[[ModuleType], None]) -> None:
    """Call `seen` after each module that is imported from now on."""

    def exec_module(self: Any, module: ModuleType) -> None:
        _plain(self, module)
        seen(module)

    code = exec_module.__code__.replace(
        co_filename=_plain.__code__.co_filename, co_firstlineno=_plain.__code__.co_firstlineno
    )
    stand_in = FunctionType(code, globals(), closure=exec_module.__closure__)
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(stand_in, name, getattr(_plain, name))
    _external._LoaderBasics.exec_module = stand_in


def unwatch() -> None:
    """Give the loaders their own method back."""
    _external._LoaderBasics.exec_module = _plain
