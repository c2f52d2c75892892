"""What stands in for a function looks like it, and calls it as the program would."""

from __future__ import annotations

import _socket
import os
import socket as _stdlib
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, TypeVar

from sockfsm.tracer.handlers import from_handler

F = TypeVar("F", bound=Callable[..., Any])

_HERE = os.path.dirname(__file__) + os.sep
_Socket, _base = _stdlib.socket, _socket.socket
_PLAIN = frozenset({int, bytes, str, tuple, bytearray, memoryview, type(None), bool, float, list})
_call = (lambda function, args, named: function(*args, **named)).__code__


def like(function: F, original: Any, module: str = "socket") -> F:
    """`function`, with the names and the text of `original`, which `module` has."""
    function.__name__ = original.__name__
    function.__qualname__ = original.__qualname__
    function.__doc__ = original.__doc__
    # By these two pickle finds it again.
    function.__module__ = module
    function.__annotations__ = {}
    # Here `inspect` looks for the signature and the source.
    function.__wrapped__ = original  # type: ignore[attr-defined]
    return function


def genuine(function: Any) -> Any:
    """What `function` stands in for, where another copy of this package has put it there."""
    while _is_ours(function):
        function = function.__wrapped__
    return function


def own(name: str) -> Any:
    """The standard library's own method of a socket, whoever stands in for it."""
    return genuine(_Socket.__dict__.get(name)) or getattr(_base, name)


def _is_ours(function: Any) -> bool:
    call = function if type(function) is FunctionType else vars(type(function)).get("__call__")
    return type(call) is FunctionType and call.__code__.co_filename.startswith(_HERE)


def invoke(
    function: Any,
    args: tuple[Any, ...],
    named: dict[str, Any],
    frame: FrameType | None,
    *first: Any,
) -> Any:
    """`function(*first, *args, **named)`, called from `frame` as far as C can see.

    C warns of the line that runs: behind a wrapper that would be the wrapper's, and the program's own
    filters would not fit. Only arguments of classes of the program's own can make it warn.
    """
    line = None
    try:
        if frame is not None and (named or not _PLAIN.issuperset(map(type, args))):
            line = line_of(frame)
    except (MemoryError, RecursionError) as error:
        if from_handler(error):
            raise
    if line is None:
        return function(*first, *args, **named)
    return line(function, (*first, *args), named)


def from_line_of(
    frame: FrameType, function: Any, args: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """`function(*args, **named)`, called by a frame that looks like this one."""
    return line_of(frame)(function, args, named)


def line_of(frame: FrameType) -> FunctionType:
    """Calls a function, from what looks like this frame."""
    code = frame.f_code
    alike = _call.replace(
        co_filename=code.co_filename, co_name=code.co_name, co_firstlineno=frame.f_lineno
    )
    return FunctionType(alike, frame.f_globals)
