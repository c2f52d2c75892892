"""Objects that are hashed by a number: a set of them has the same order in every run.

By default Python hashes an object by its address, which is chance: a server that sends to all in a
set of its clients would do it in another order each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref


class Numbers:
    """The numbers of a program's objects. hashed: a `__hash__` for their classes."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, ref[object]]] = {}
        self._count = 0
        self.hashed = self._hashed()

    def reset(self) -> None:
        """Another run begins."""
        self._known.clear()
        self._count = 0

    def give(self, made: Any) -> None:
        """Hash the objects of a class by number, if it is their address by which they are hashed."""
        if isinstance(made, type) and vars(object)["__hash__"] is getattr(made, "__hash__", None):
            type.__setattr__(made, "__hash__", self.hashed)

    def take_back(self, made: Any) -> None:
        """Leave a class as it was written: somebody looks at it."""
        if vars(made).get("__hash__") == self.hashed:
            type.__delattr__(made, "__hash__")

    def _hashed(self) -> Callable[[object], int]:
        known = self._known

        def __hash__(self_: object) -> int:  # noqa: N807 - its name
            place = id(self_)
            found = known.get(place)
            if found is not None and found[1]() is self_:
                return found[0]
            try:
                kept = ref(self_, lambda gone: forget(place, gone))
            except TypeError:
                return 0  # all such are equal here; == tells them apart
            self._count += 1
            known[place] = (self._count, kept)
            return self._count

        def forget(place: int, gone: ref[object]) -> None:
            found = known.get(place)
            if found is not None and found[1] is gone:
                del known[place]

        return __hash__
