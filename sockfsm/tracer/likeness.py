"""What stands in for a method looks like it, as far as a function can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(function: F, original: Any) -> F:
    """`function`, with the names and the text of `original`."""
    function.__name__ = original.__name__
    function.__qualname__ = original.__qualname__
    function.__doc__ = original.__doc__
    # A method of a C class has no module of its own; its class is reached through this one.
    function.__module__ = getattr(original, "__module__", None) or "socket"
    return function
