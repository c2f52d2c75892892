"""The world as numbers: each object is one place of a tuple, each content it ever had a number.

So a state is a short tuple, states are compared exactly, and what a turn has read and written is known
part by part: a turn whose parts are as they were before need not be simulated again. This is SPIN's
COLLAPSE (Holzmann, 1997), and the parts are objects.
"""

from __future__ import annotations

import types
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from sockfsm.sim.clock import Event
from sockfsm.sim.explore.stage import Archive, Source
from sockfsm.sim.network import Rules, Segment
from sockfsm.sim.run import Simulation
from sockfsm.sim.scenario import Actor, Scenario, Step
from sockfsm.sim.sockets import VirtualSocket
from sockfsm.sim.tcp import Tcb

State = tuple[int, ...]
Field = tuple[object, ...]
"""(place, name) of a field; (place, name, key) of a dictionary's entry, ALL for its keys together."""
ALL: Final = object()

_ATOMS = frozenset({type(None), bool, int, float, str, bytes, Segment})
_OPAQUE = (Archive, Source, Actor, Scenario, Simulation, Step, Rules)
"""What does not change, or tells nothing."""
_UNTOLD: dict[str, Callable[[], object]] = {
    "begun": int, "doomed": tuple, "latest": type(None), "look": dict, "packets": list,
    "seen": type(None), "sent": int, "visited": list, "who": int, "_calls": list, "_sockets": list,
}  # fmt: skip
"""Fields that later turns do not depend on, and what they begin with."""


class Ref:
    """An object, as part of another one's content."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"<{self.place}>"


class Const:
    """Something that does not change, by its identity."""

    __slots__ = ("number", "value")

    def __init__(self, value: object, number: int) -> None:
        self.value, self.number = value, number

    def __repr__(self) -> str:
        return f"<={self.number}>"


class Keys(dict[Any, Any]):
    """A dictionary that notes which of its entries are asked for. place, name: whose field it is."""

    __slots__ = ("_log", "name", "place")

    def __init__(
        self, entries: dict[Any, Any], log: list[tuple[Any, Any]], place: int, name: str
    ) -> None:
        super().__init__(entries)
        self._log, self.place, self.name = log, place, name

    def __getitem__(self, key: Any) -> Any:
        self._log.append((self, key))
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._log.append((self, key))
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._log.append((self, key))
        return super().get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        self._log.append((self, key))
        return super().pop(key, *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        self._log.append((self, key))
        return super().setdefault(key, default)

    def __iter__(self) -> Iterator[Any]:
        self._log.append((self, ALL))
        return super().__iter__()

    def keys(self) -> Any:
        self._log.append((self, ALL))
        return super().keys()

    def values(self) -> Any:
        self._log.append((self, ALL))
        return super().values()

    def items(self) -> Any:
        self._log.append((self, ALL))
        return super().items()

    def __len__(self) -> int:
        self._log.append((self, ALL))
        return super().__len__()

    def __bool__(self) -> bool:
        self._log.append((self, ALL))
        return super().__len__() > 0


class Memory:
    """The objects that can be reached from `roots`, and every content that each of them ever had.

    log: (object, field), or (dictionary, key), of all that was asked for since it was cleared.
    """

    def __init__(self, roots: list[object]) -> None:
        self.roots = roots
        self.log: list[tuple[Any, Any]] = []
        self.objects: list[object] = []
        self.forms: list[list[tuple[tuple[str, ...], tuple[Any, ...]]]] = []
        self._numbers: list[dict[tuple[Any, ...], int]] = []
        self._inside: list[list[tuple[int, ...]]] = []
        self._refs: list[Ref] = []
        self._where: dict[int, int] = {}
        self._names: dict[tuple[Any, ...], int] = {}
        self._consts: dict[int, Const] = {}
        self._classes: dict[type, type] = {}
        self._content: list[int] = []
        self._live: list[int] = []
        self._before: State = ()
        self._todo: deque[int] = deque()
        self.refused: set[int] = set()
        self.born: set[int] = set()

    # Objects to numbers

    def capture(self, before: State = (), touched: set[int] | None = None) -> State:
        """The world as it is. `born`, `refused`: places that got a new object, or could not.

        before: the state that was restored. touched: the places of what was asked or set since
        then, where alone anything can have changed; None for all.
        """
        self._before = before
        self.born, self.refused = set(), set()
        self._live = [0] * len(self.objects)
        for number, root in enumerate(self.roots):
            self._ref(root, 0, ("root", number))
        while self._todo:
            place = self._todo.popleft()
            known = self._content[place] if touched is not None and place not in touched else -1
            if known > 0 and place not in self.born:
                self._live[place] = known
                for inner in self._inside[place][known]:
                    if not self._live[inner]:
                        self._live[inner] = -1
                        self._todo.append(inner)
            else:
                self._describe(place)
        self._content = [number or -1 for number in self._live]
        for place in self.born:
            self._content[place] = -1  # its dictionaries are still plain ones
        return tuple(self._live)

    def place(self, value: object) -> int | None:
        """The place of an object of the last state."""
        place = self._where.get(id(value))
        return place if place is not None and self.objects[place] is value else None

    def _describe(self, place: int) -> None:
        thing: Any = self.objects[place]
        names = _slots(type(thing))
        if names:
            values = [object.__getattribute__(thing, name) for name in names]
        else:
            content = object.__getattribute__(thing, "__dict__")
            names = tuple(sorted(content))
            values = [content[name] for name in names]
        form = tuple(
            None if name in _UNTOLD else self._written(value, place, name)
            for name, value in zip(names, values, strict=True)
        )
        numbers = self._numbers[place]
        number = numbers.get((names, form))
        if number is None:
            number = numbers[names, form] = len(self.forms[place])
            self.forms[place].append((names, form))
            self._inside[place].append(tuple(dict.fromkeys(_places(form))))
        self._live[place] = number

    def _ref(self, thing: Any, parent: int, path: object) -> Ref:
        place = self.place(thing)
        if place is None:
            place = self._settle(thing, parent, path)
        if not self._live[place]:
            self._live[place] = -1
            self._todo.append(place)
        return self._refs[place]

    def _settle(self, thing: Any, parent: int, path: object) -> int:
        """Give a new object a place: the same one whenever it is made in the same way."""
        kind = type(thing)
        name: tuple[Any, ...] = (kind.__name__, parent, path)
        if isinstance(thing, VirtualSocket):
            name = (kind.__name__, thing.event.identity)
        elif isinstance(thing, Tcb):
            name = (kind.__name__, thing.local, thing.remote)
        before = self._before
        while True:
            place = self._names.get(name)
            if place is None:
                place = self._names[name] = len(self.objects)
                self.objects.append(thing)
                self.forms.append([((), ())])
                self._numbers.append({})
                self._inside.append([()])
                self._refs.append(Ref(place))
                self._live.append(0)
                self._content.append(-1)
                break
            if not self._live[place] and not (place < len(before) and before[place]):
                break
            self.refused.add(place)
            name = (*name, "'")
        self.objects[place] = thing
        self._where[id(thing)] = place
        self.born.add(place)
        if kind not in self._classes:
            self._classes[kind] = _watched(kind, self.log)
        thing.__class__ = self._classes[kind]
        return place

    def _written(self, value: Any, parent: int, path: object) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is tuple or kind is list or kind is deque:
            items = [self._written(one, parent, (path, n)) for n, one in enumerate(value)]
            return (kind, *items)
        if isinstance(value, dict):
            return (dict, *self._entries(value, parent, path))
        if kind is bytearray:
            return (bytearray, bytes(value))
        if kind is set or kind is frozenset:
            return (kind, *sorted((self._written(v, parent, path) for v in value), key=repr))
        if kind is partial:
            inside = (self._written(value.func, parent, path), tuple)
            return (partial, *inside, self._written(value.args, parent, (path, "args")))
        if kind is types.MethodType:
            return (kind, self._written(value.__self__, parent, path), value.__name__)
        if kind is types.FunctionType and value.__closure__:
            cells = tuple(cell.cell_contents for cell in value.__closure__)
            return (kind, self._const(value.__code__), self._const(value.__globals__),
                    self._written(cells, parent, (path, "cells")))  # fmt: skip
        if kind.__module__.startswith("sockfsm.sim.") and not isinstance(value, _OPAQUE):
            return self._ref(value, parent, path)
        return self._const(value)

    def _entries(self, value: dict[Any, Any], parent: int, path: object) -> list[tuple[Any, Any]]:
        found = []
        for key, one in dict.items(value):
            if isinstance(one, Event) and object.__getattribute__(one, "cancelled"):
                continue
            written = self._written(key, parent, (path, "key"))
            found.append((written, self._written(one, parent, (path, repr(written)))))
        return sorted(found, key=lambda entry: repr(entry[0]))

    def key(self, value: Any) -> Any:
        """A dictionary's key as it stands in a form."""
        return value if value is ALL else self._written(value, 0, "key")

    def _const(self, value: object) -> Const:
        known = self._consts.get(id(value))
        if known is None:
            known = self._consts[id(value)] = Const(value, len(self._consts))
        return known

    # Numbers to objects

    def restore(self, state: State) -> None:
        """Make the world as it was."""
        content = self._content
        for place, number in enumerate(state):
            if number and content[place] != number:
                self._fill(place, number)
                content[place] = number

    def _fill(self, place: int, number: int) -> None:
        names, form = self.forms[place][number]
        thing: Any = self.objects[place]
        if _slots(type(thing)):
            for name, value in zip(names, form, strict=True):
                object.__setattr__(thing, name, self._read(value))
            return
        content = object.__getattribute__(thing, "__dict__")
        content.clear()
        for name, value in zip(names, form, strict=True):
            if name in _UNTOLD:
                content[name] = _UNTOLD[name]()
            elif type(value) is tuple and value[0] is dict:
                content[name] = Keys(self._read(value), self.log, place, name)
            else:
                content[name] = self._read(value)

    def _read(self, value: Any) -> Any:
        kind = type(value)
        if kind is Ref:
            return self.objects[value.place]
        if kind is Const:
            return value.value
        if kind is not tuple:
            return value
        made = value[0]
        if made is dict:
            return {self._read(key): self._read(one) for key, one in value[1:]}
        if made is bytearray:
            return bytearray(value[1])
        if made is partial:
            return partial(self._read(value[1]), *self._read(value[3]))
        if made is types.MethodType:
            return getattr(self._read(value[1]), value[2])
        if made is types.FunctionType:
            cells = tuple(types.CellType(one) for one in self._read(value[3]))
            return types.FunctionType(value[1].value, value[2].value, "deed", None, cells)
        return made([self._read(one) for one in value[1:]])

    # States alone

    def swept(self, state: list[int]) -> State:
        """The state without what nothing leads to any more."""
        kept = [0] * len(state)
        todo = list(range(len(self.roots)))
        for place in todo:
            if not kept[place]:
                number = kept[place] = state[place]
                todo += self._inside[place][number]
        return tuple(kept)

    def inside(self, place: int, number: int) -> tuple[int, ...]:
        """The places that an object's content names."""
        return self._inside[place][number]

    def packed(self, state: State) -> bytes:
        """A state in few bytes: one for each number where that is enough."""
        try:
            return bytes(state).rstrip(b"\0")
        except ValueError:  # the first place is never empty, so that none begins with 0
            code = "H" if max(state) < 1 << 16 else "I"
            return b"\0" + code.encode() + array(code, state).tobytes().rstrip(b"\0")

    def unpacked(self, key: bytes) -> State:
        """The state again, as wide as there are objects now."""
        if key[0]:
            return tuple(key.ljust(len(self.objects), b"\0"))
        numbers = array(chr(key[1]))
        numbers.frombytes(key[2:].ljust(numbers.itemsize * len(self.objects), b"\0"))
        return tuple(numbers)


_SLOTS: dict[type, tuple[str, ...]] = {}


def _slots(kind: type) -> tuple[str, ...]:
    """The fields of a class whose objects have no dictionary."""
    if kind not in _SLOTS:
        names = (name for one in kind.__mro__ for name in vars(one).get("__slots__", ()))
        _SLOTS[kind] = tuple(sorted(names))
    return _SLOTS[kind]


def _places(form: tuple[Any, ...]) -> Iterator[int]:
    for value in form:
        if type(value) is Ref:
            yield value.place
        elif type(value) is tuple:
            yield from _places(value)


def _watched(kind: type, log: list[tuple[Any, Any]]) -> type:
    """The class with every access noted."""

    def getter(self: object, name: str) -> Any:
        value = object.__getattribute__(self, name)
        # Of a dictionary the entries are noted, not that it was asked.
        log.append((self, None if type(value) is Keys else name))
        return value

    def setter(self: object, name: str, value: object) -> None:
        log.append((self, None))
        object.__setattr__(self, name, value)

    body = {"__slots__": (), "__getattribute__": getter, "__setattr__": setter}
    return type(kind.__name__, (kind,), {**body, "__module__": kind.__module__})
