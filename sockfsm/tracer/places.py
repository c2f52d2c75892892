"""Where calls come from: the numbers that places in the program's source have in the log."""

from __future__ import annotations

import itertools
import os
import socket as _stdlib
import sys
from sys import _getframe
from types import CodeType, FrameType

from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.recorder import log

# From 3.11 on a code object holds its bytecode, so its address plus an offset names one instruction.
STRIDE = 1 if sys.version_info >= (3, 11) else 1 << 48

sites: dict[int, int] = {}
"""id(code) + offset * STRIDE -> number of the place; 0 inside the standard library's `socket`."""
places: dict[int, tuple[str, int, str]] = {}
"""number -> (file, line, function)"""

MOST = 20_000
"""So many code objects are kept alive. A program that generates code for ever has them noted anew."""

_codes: list[CodeType] = []
_numbers = itertools.count(1)
_INSIDE = {_stdlib.__file__}
_HERE = os.path.dirname(__file__) + os.sep
_id = id


def inside(*files: str) -> None:
    """Never name these source files as a caller: they wrap the socket for others."""
    _INSIDE.update(files)


def caller() -> FrameType | None:
    """The frame that called the caller of this; None where C did: an atexit function, a thread's."""
    try:
        return _getframe(2)
    except ValueError as error:
        if from_handler(error):
            raise
        return None


def forget() -> None:
    """Note every place anew when it is next met."""
    global _codes
    # The old code objects live until nobody can find them by their addresses any more.
    kept, _codes = _codes, []
    sites.clear()
    places.clear()
    kept.clear()


def site_of(frame: FrameType | None) -> int:
    """The number of the nearest place at or above `frame` that is outside the socket library."""
    while frame is not None:
        key = _id(frame.f_code) + frame.f_lasti * STRIDE
        number = sites.get(key)
        if number is None:
            number = _new_site(frame, key)
        if number:
            return number
        frame = frame.f_back
    return 0


def _new_site(frame: FrameType, key: int) -> int:
    if len(_codes) >= MOST:
        forget()
    codes, code = _codes, frame.f_code
    # The code object is kept, or another one could take its address.
    codes.append(code)
    file = code.co_filename
    if file in _INSIDE or file.startswith(_HERE):
        number = 0
    else:
        number = next(_numbers)
        name = getattr(code, "co_qualname", code.co_name)
        places[number] = file, frame.f_lineno, name
        log.note({"site": number, "file": file, "line": frame.f_lineno, "function": name})
    sites[key] = number
    if codes is not _codes:
        # Somebody forgot all places meanwhile, and let go of this code object.
        sites.pop(key, None)
    return number
