"""What stands in for a library's function is found where that was, and has the same parameters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from sys import _getframe
from types import CodeType, FrameType
from typing import Any, TypeVar, cast

from sockfsm.tracer.likeness import like

F = TypeVar("F", bound=Callable[..., Any])
# From 3.14 on annotations are evaluated when they are asked for, and may fail until then.
_ANNOTATIONS = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
_compile, _eval = compile, eval
_VARARGS, _VARKEYWORDS = 4, 8
"""Flags of code, as `inspect` names them, which no program should have to import because of us."""


def named(function: F, original: Any) -> F:
    """`function`, under the names, in the module and with the parameters of `original`."""
    module = getattr(original, "__module__", None) or "socket"
    code = getattr(original, "__code__", None)
    if not isinstance(code, CodeType):
        return like(function, original, module)  # of C: it says nothing of its parameters
    shell = _shell(function, original, code)
    shell.__dict__.update(original.__dict__)
    like(shell, original, module)
    setattr(shell, _ANNOTATIONS, getattr(original, _ANNOTATIONS, None))
    return cast(F, shell)


def caller() -> FrameType | None:
    """The frame that called what stands in, which asks this."""
    frame = _getframe(1).f_back
    shelled = frame is not None and frame.f_code.co_filename == __file__
    return frame.f_back if shelled and frame else frame


def _shell(function: Any, original: Any, code: CodeType) -> Any:
    """Calls `function` with all that `original` would be called with, its defaults too."""
    names = iter(code.co_varnames)
    first = list(islice(names, code.co_posonlyargcount))
    places = list(islice(names, code.co_argcount - len(first)))
    only = list(islice(names, code.co_kwonlyargcount))
    rest = [f"*{name}" for name in islice(names, bool(code.co_flags & _VARARGS))]
    others = [f"**{name}" for name in islice(names, bool(code.co_flags & _VARKEYWORDS))]
    star = rest or ["*"] * bool(only)
    taken = ", ".join([*first, *["/"] * bool(first), *places, *star, *only, *others])
    given = ", ".join([*first, *places, *rest, *(f"{name}={name}" for name in only), *others])
    inner = "_".join(("", *code.co_varnames, ""))  # no parameter has such a name
    source = f"lambda {inner}: lambda {taken}: {inner}({given})"
    shell = _eval(_compile(source, __file__, "eval"), {"__name__": __name__})(function)
    line = _shell.__code__.co_firstlineno  # for tracebacks
    shell.__code__ = shell.__code__.replace(co_name=original.__name__, co_firstlineno=line)
    shell.__defaults__, shell.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return shell
