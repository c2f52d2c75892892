"""A number of its own for every greenlet, as threads have: two of one thread may wait at once.

A number goes to the next greenlet when its greenlet is gone, so a log has as many as greenlets lived
at the same time, and a million short ones cost no more than the few that overlapped.
"""

from __future__ import annotations

import os
from _thread import get_native_id
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import ref

from sockfsm.tracer import current
from sockfsm.tracer.threads import Leaving, Me, Threads

_lanes: dict[int, dict[str, Any]] = {}
"""id(greenlet) -> what `Session.me` is in it. The main greenlet of a thread has the thread's own."""
# These three are cleared whenever tracing ends (`leave`), so no session finds another's.
_graves: dict[int, _Grave] = {}
_free: dict[int, list[int]] = {}
"""native id of a thread -> numbers whose greenlets are gone."""


class _Grave(ref[Any]):
    """A weak reference that knows which greenlet it was, and who gets its number."""

    __slots__ = ("heirs", "key", "number")
    heirs: list[int]
    key: int
    number: int


def _gone(grave: ref[Any]) -> None:
    assert isinstance(grave, _Grave)
    if _graves.get(grave.key) is grave:
        del _graves[grave.key], _lanes[grave.key]
        grave.heirs.append(grave.number)


def _fresh(number: int) -> dict[str, Any]:
    return {"number": number, "expected": None, "resolved": False, "missing": None}


def _new_lane(threads: Threads, greenlet: Any) -> dict[str, Any]:
    native = get_native_id()
    heirs = _free.setdefault(native, [])
    try:
        number = heirs.pop()
    except IndexError:
        number = next(threads.numbers)
        threads.add(number, f"greenlet-{number}")
    lane = _lanes[id(greenlet)] = _fresh(number)
    grave = _graves[id(greenlet)] = _Grave(greenlet, _gone)
    grave.heirs, grave.key, grave.number = heirs, id(greenlet), number
    return lane


def places(module: ModuleType) -> list[tuple[Any, str, Any]]:
    """Let `Session.me` be each greenlet's own from now on."""
    session = current.session
    threads = session.threads
    getcurrent: Callable[[], Any] = module.getcurrent
    parent = module.greenlet.parent.__get__

    def lane(self: Any) -> dict[str, Any]:
        here = getcurrent()
        known = _lanes.get(id(here))
        if known is not None:
            return known
        return self.__dict__ if parent(here) is None else _new_lane(threads, here)

    def field(name: str) -> property:
        def get(self: Any) -> Any:
            return lane(self)[name]

        def put(self: Any, value: Any) -> None:
            lane(self)[name] = value

        return property(get, put)

    class Mine(Me):
        """`Session.me`, by greenlet in place of by thread."""

        def __init__(self, threads: Threads) -> None:
            number = next(threads.numbers)
            self.__dict__.update(_fresh(number), leaving=Leaving(threads, number))
            threads.note(number)

    for name in _fresh(0):
        setattr(Mine, name, field(name))
    session.me.__class__ = Mine
    return []


def leave() -> None:
    """Threads alone have numbers again."""
    current.session.me.__class__ = Me
    _forget()


def _forget() -> None:
    """In a forked child, too, greenlets are numbered anew: its log knows none of them."""
    _graves.clear()
    _lanes.clear()
    _free.clear()


os.register_at_fork(after_in_child=_forget)
