"""What stands in for a library's method is found where the method was."""

from __future__ import annotations

from typing import Any, TypeVar

from sockfsm.tracer.likeness import like

F = TypeVar("F")


def named(function: F, original: Any) -> F:
    """`function`, under the names and in the module of `original`."""
    module = getattr(original, "__module__", None) or "socket"
    return like(function, original, module)  # type: ignore[type-var]
