"""Where calls come from: the numbers that places in the program's source have in the log."""

from __future__ import annotations

import itertools
import os
import socket as _stdlib
import sys
from sys import _getframe
from types import CodeType, FrameType

from sockfsm.record.writer import Log
from sockfsm.tracer.handlers import interrupts

# From 3.11 on a code object holds its bytecode, so its address plus an offset names one instruction.
STRIDE = 1 if sys.version_info >= (3, 11) else 1 << 48

MOST = 20_000
"""So many code objects are kept alive. A program that generates code for ever has them noted anew."""

_INSIDE = {_stdlib.__file__}
_HERE = os.path.dirname(__file__) + os.sep
_id = id


def inside(*files: str) -> None:
    """Never name these source files as a caller: they wrap the socket for others."""
    _INSIDE.update(files)


def caller(above: int = 2) -> FrameType | None:
    """The frame that called the caller of this; None where C did: an atexit function, a thread's."""
    try:
        return _getframe(above)
    except BaseException as error:
        if interrupts(error):
            raise
        return None  # there is none, or an audit hook wants nobody to look


class Places:
    """The places that one log has numbers for."""

    __slots__ = ("_codes", "_log", "_numbers", "named", "sites")

    def __init__(self, log: Log) -> None:
        self._log = log
        self.sites: dict[int, int] = {}
        """id(code) + offset * STRIDE -> number of the place; 0 inside the library's `socket`"""
        self.named: dict[int, tuple[str, int, str]] = {}
        """number -> (file, line, function)"""
        self._codes: list[CodeType] = []
        self._numbers = itertools.count(1)

    def forget(self) -> None:
        """Note every place anew when it is next met."""
        # The old code objects live until nobody can find them by their addresses any more.
        kept, self._codes = self._codes, []
        self.sites.clear()
        self.named.clear()
        kept.clear()

    def site_of(self, frame: FrameType | None) -> int:
        """The number of the nearest place at or above `frame` that is outside the socket library."""
        try:
            return self._nearest(frame)
        except BaseException as error:
            if interrupts(error) or isinstance(error, MemoryError | RecursionError):
                raise
            return 0  # an audit hook does not let us look

    def _nearest(self, frame: FrameType | None) -> int:
        while frame is not None:
            key = _id(frame.f_code) + frame.f_lasti * STRIDE
            number = self.sites.get(key)
            if number is None:
                number = self._new_site(frame, key)
            if number:
                return number
            frame = frame.f_back
        return 0

    def _new_site(self, frame: FrameType, key: int) -> int:
        if len(self._codes) >= MOST:
            self.forget()
        codes, code = self._codes, frame.f_code
        # The code object is kept, or another one could take its address.
        codes.append(code)
        file = code.co_filename
        if file in _INSIDE or file.startswith(_HERE):
            number = 0
        else:
            number, line = next(self._numbers), frame.f_lineno
            name = getattr(code, "co_qualname", code.co_name)
            self.named[number] = file, line, name
            self._log.note({"site": number, "file": file, "line": line, "function": name})
        self.sites[key] = number
        if codes is not self._codes:
            # Somebody forgot all places meanwhile, and let go of this code object.
            self.sites.pop(key, None)
        return number
