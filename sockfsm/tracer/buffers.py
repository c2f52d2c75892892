"""How many bytes a call is about, found without running code of the program's own classes."""

from __future__ import annotations

import sys
from types import FunctionType

from sockfsm.tracer.handlers import from_handler

UNKNOWN = -1
_index = int.__index__
class_name = type.__dict__["__name__"].__get__
mro = type.__dict__["__mro__"].__get__
members = type.__dict__["__dict__"].__get__


def octets(data: object) -> int:
    """Bytes in a buffer, UNKNOWN for what is none or cannot be looked at."""
    kind = type(data)
    if kind is bytes or kind is bytearray:
        return len(data)  # type: ignore[arg-type]
    if sys.version_info >= (3, 12) and _in_python(kind):
        return UNKNOWN
    try:
        with memoryview(data) as view:  # type: ignore[arg-type]
            return view.nbytes
    except (TypeError, ValueError, BufferError, OSError) as error:
        if from_handler(error):
            raise
        return UNKNOWN


def _in_python(kind: type) -> bool:
    """Whether the class exports its buffer by a function of its own (PEP 688)."""
    return any(isinstance(members(base).get("__buffer__"), FunctionType) for base in mro(kind))


def all_octets(buffers: object) -> int:
    """Bytes in a list or tuple of buffers, UNKNOWN where one of them is: iterators are not consumed."""
    if type(buffers) is not list and type(buffers) is not tuple:
        return UNKNOWN
    sizes = [octets(buffer) for buffer in buffers]
    return UNKNOWN if UNKNOWN in sizes else sum(sizes)


def integer(value: object) -> int:
    """A size or flags as a plain integer, UNKNOWN for what is none or would run the program's code."""
    try:
        return _index(value)  # type: ignore[arg-type]
    except TypeError as error:
        if from_handler(error):
            raise
        return UNKNOWN
