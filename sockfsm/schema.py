"""What is read from files is checked here, at the border: code further in relies on the types.

A format has one module with its forms (`record.notes`, `trace.about`, `wire.kernel_record`,
`conform.progress`), imported when something is read: tracing alone loads none of this.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A count or a time in ns."""
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Number32 = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Port = Annotated[int, Meta(ge=0, le=0xFFFF)]
Pid = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


def parse(text: bytes) -> Any:
    """JSON, lone surrogates (of file names that are no UTF-8) too. ValueError for anything else."""
    try:
        return json.loads(text, parse_constant=_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def check(value: Any, form: type[T]) -> T:
    """`value` as `form` says. ValueError that names what does not fit."""
    return msgspec.convert(value, form)  # its ValidationError is a ValueError


def read(text: bytes, form: type[T]) -> T:
    """`parse` and `check`."""
    return check(parse(text), form)


def word(text: str) -> str:
    """A name of ours (a state, a method): ValueError when a terminal would act on it."""
    if not text.isprintable():
        raise ValueError(f"no name: {text!r}")
    return text
