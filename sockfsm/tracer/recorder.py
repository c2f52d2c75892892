"""What the traced methods share: the log, and the numbers of threads, places and addresses in it."""

from __future__ import annotations

import itertools
import os
import socket as _stdlib
import sys
import threading
from struct import error as StructError  # noqa: N812
from time import monotonic_ns
from types import CodeType, FrameType

from sockfsm.record.layout import ADDRESS, BEGUN, CALL, INET, MOST, NOTED, inet
from sockfsm.record.writer import Log
from sockfsm.tracer.rows import Tracked, head

log = Log()
_pack = CALL.pack_into
clock = monotonic_ns

# From 3.11 on a code object holds its bytecode, so its address plus an offset names one instruction.
STRIDE = 1 if sys.version_info >= (3, 11) else 1 << 48

sites: dict[int, int] = {}
"""id(code) + offset * STRIDE -> number of the place; 0 inside the standard library's `socket`."""
places: dict[int, tuple[str, int, str]] = {}
"""number -> (file, line, function)"""
_codes: list[CodeType] = []
_site_numbers = itertools.count(1)
_INSIDE = {_stdlib.__file__}
_HERE = os.path.dirname(__file__) + os.sep


class _Me(threading.local):
    """The current thread: its number in the log, and what it is about to do."""

    def __init__(self) -> None:
        self.number = next(_thread_numbers)
        self.expected: Tracked | None = None
        self.resolved = False
        self.missing: tuple[str, int, int, int] | None = None
        """(path, begin, end, site) of an unlink that found nothing."""
        note_thread(self.number)


_thread_numbers = itertools.count(1)
threads: dict[int, tuple[int, str]] = {}


def note_thread(number: int) -> None:
    """Write down the current thread under `number`."""
    # current_thread() would register a foreign thread as a dummy, which the program could see.
    known = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
    threads[number] = threading.get_native_id(), known.name if known else ""
    log.note({"thread": number, "ident": threads[number][0], "name": threads[number][1]})


me = _Me()
addresses: dict[object, int] = {}

waiting: dict[int, tuple[Tracked | None, int, int, int]] = {}
"""thread number -> (tracked, method, since, site) of the call that blocks it now."""


def inside(*files: str) -> None:
    """Never name these source files as a caller: they wrap the socket for others."""
    _INSIDE.update(files)


def site_of(frame: FrameType | None) -> int:
    """The number of the nearest place at or above `frame` that is outside the socket library."""
    while frame is not None:
        key = id(frame.f_code) + frame.f_lasti * STRIDE
        number = sites.get(key)
        if number is None:
            number = sites[key] = _new_site(frame)
        if number:
            return number
        frame = frame.f_back
    return 0


def _new_site(frame: FrameType) -> int:
    # The code object is kept, or another one could take its address.
    _codes.append(frame.f_code)
    file = frame.f_code.co_filename
    if file in _INSIDE or file.startswith(_HERE):
        return 0
    number = next(_site_numbers)
    name = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
    places[number] = file, frame.f_lineno, name
    log.note({"site": number, "file": file, "line": frame.f_lineno, "function": name})
    return number


def address_number(address: object) -> int:
    """The number of an address in the log, noted when new."""
    number = addresses.get(address)
    if number is None:
        if len(addresses) > 100_000:
            addresses.clear()
        number = addresses[address] = len(addresses) + 1
        shown = address.decode("latin-1") if isinstance(address, bytes) else address
        kind = "abstract" if isinstance(address, bytes) else "address"
        log.note({kind: number, "is": shown})
    return number


def packed(address: object, local: object = None) -> tuple[int, int, int]:
    """An address for a record: (head bits, asked, done)."""
    if isinstance(address, tuple) and len(address) == 2:
        try:
            done = inet(*address)
            if isinstance(local, tuple):
                mine = inet(*local)
                return INET << ADDRESS, mine & MOST, done | mine >> 32 << 48
        except (OSError, TypeError):
            pass  # a host name: noted as text below
        else:
            return INET << ADDRESS, 0, done
    if address is None:
        return 0, 0, 0
    if isinstance(local, tuple):
        address = (address, local)
    try:
        return NOTED << ADDRESS, 0, address_number(address) << 32
    except TypeError:
        return NOTED << ADDRESS, 0, address_number(repr(address)) << 32


def amount(asked: object) -> int:
    """`asked` as 32 bits; 0 for nonsense, which is the call's own to refuse."""
    return min(max(asked, 0), MOST) if isinstance(asked, int) else 0


def begin_wait(tracked: Tracked, method: int, asked: int, frame: FrameType | None) -> int:
    """Note that `method` starts to block. Gives the place of the call."""
    site, since = site_of(frame), clock()
    number, thread, row = tracked.number, me.number, tracked.row
    waiting[thread] = tracked, method, since, site
    bits = row.begun.get(method)
    if bits is None:
        bits = row.begun[method] = head(row, row, method, "ok") | BEGUN
    memory, slots = log.window
    try:
        _pack(memory, next(slots), since, 0, bits, number, site, thread, asked, 0)
    except (StopIteration, StructError):
        log.write(since, 0, bits, number, site, thread, amount(asked), 0)
    return site


def end_wait() -> None:
    """The current thread's call blocks no longer."""
    waiting.pop(me.number, None)
