"""What stands in for a method looks like it, as far as a function can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(function: F, original: Any, module: str = "socket") -> F:
    """`function`, with the names and the text of `original`, which `module` has."""
    function.__name__ = original.__name__
    function.__qualname__ = original.__qualname__
    function.__doc__ = original.__doc__
    # By these two pickle finds it again.
    function.__module__ = module
    function.__annotations__ = {}
    return function
