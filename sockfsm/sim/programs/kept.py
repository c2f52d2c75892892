"""Modules of the library that are kept from one run to the next, as they were when just loaded.

Loading them again would take longer than most runs. Only those are kept that are known to have no
state but what their names hold, and only with all that they import.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from weakref import WeakSet

_KEPT = frozenset(
    {
        "_threading_local", "contextlib", "dataclasses", "enum", "errno", "genericpath", "io", "os",
        "posixpath", "queue", "random", "selectors", "signal", "socket", "socketserver", "statistics",
        "threading", "traceback", "typing", "warnings", "weakref", "_colorize",
    }
)  # fmt: skip


class _Module:
    """A module and what it was like.

    values: of its names; held: the containers among them, with what was in them. needs: what it has
    imported.
    """

    __slots__ = ("held", "module", "names", "needs", "ready", "values")

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.needs: list[str] = []
        self.names: dict[str, Any] = {}
        self.values: list[Any] = []
        self.held: list[tuple[Any, Any]] = []
        self.ready = False

    def done(self) -> None:
        """It has been loaded."""
        self.names = dict(self.module.__dict__)
        self.values = list(self.names.values())
        self.held = [
            (value, value.copy())
            for name, value in self.names.items()
            if isinstance(value, dict | list | set) and name != "__builtins__"
        ]
        self.ready = True

    def restore(self) -> None:
        """Make it what it was then."""
        names = self.module.__dict__
        if list(names.values()) != self.values:  # quick, by identity
            names.clear()
            names.update(self.names)
        for container, content in self.held:
            if len(container) != len(content) or container != content:
                container.clear()
                if isinstance(container, list):
                    container.extend(content)
                else:
                    container.update(content)
        reset = _RESETS.get(self.module.__name__)
        if reset is not None:
            reset(self.module)


class Kept:
    """The kept modules of one program."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules
        self._known: dict[str, _Module] = {}
        self._orders: dict[str, list[tuple[str, _Module]]] = {}

    def loaded(self, module: ModuleType) -> None:
        """A module without code of its own has been made: virtual, or a copy."""
        known = self._known[module.__name__] = _Module(module)
        known.done()

    @contextmanager
    def loading(self, module: ModuleType) -> Iterator[None]:
        """While a module is loaded."""
        before = set(self._modules)
        known = _Module(module)
        yield
        name = module.__name__
        if name in _KEPT:
            known.needs = [n for n in self._modules if n not in before and n != name]
            known.needs += [n for n in _imported(module, self._modules) if n not in known.needs]
            known.done()
            self._known[name] = known
            self._orders.clear()

    def revive(self, name: str) -> None:
        """Bring a module back, if it is kept, and what it needs."""
        order = self._orders.get(name)
        if order is None:
            if name not in self._known:
                return
            order = self._order(name)
            if order is None:
                return
            self._orders[name] = order
        modules = self._modules
        for word, known in order:
            if word not in modules:
                modules[word] = known.module
                known.restore()

    def _order(self, name: str) -> list[tuple[str, _Module]] | None:
        """All that a module needs, and then itself; None where something is not kept."""
        found: dict[str, _Module] = {}
        seen: set[str] = set(_ALIASES)

        def visit(word: str) -> bool:
            if word in seen:
                return True
            seen.add(word)
            known = self._known.get(word)
            if known is None or not all(map(visit, known.needs)):
                return False
            found[word] = known
            return True

        return list(found.items()) if visit(name) else None


_ALIASES = frozenset(
    {"sys", "builtins", "os.path", "_frozen_importlib", "_frozen_importlib_external"}
)


def _imported(module: ModuleType, modules: dict[str, ModuleType]) -> list[str]:
    """The modules that it has names of."""
    names = {
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        for value in module.__dict__.values()
    }
    return sorted(n for n in names if isinstance(n, str) and n in modules and n != module.__name__)


def _threading(module: Any) -> None:
    module._counter = itertools.count(1).__next__
    module._dangling = WeakSet()
    module._active_limbo_lock = module.RLock()
    if hasattr(module, "_shutdown_locks_lock"):
        module._shutdown_locks_lock = module._allocate_lock()
    module._main_thread = module._MainThread()


def _os(module: Any) -> None:
    import posix

    data = module.environ._data
    data.clear()
    data.update(posix.environ)


def _random(module: Any) -> None:
    module._inst.seed()


def _weakref(module: Any) -> None:
    finalize = module.finalize
    finalize._registry.clear()
    finalize._index_iter = itertools.count()
    finalize._shutdown = finalize._registered_with_atexit = finalize._dirty = False


_RESETS: dict[str, Callable[[Any], None]] = {
    "threading": _threading,
    "os": _os,
    "random": _random,
    "weakref": _weakref,
}
"""State that is not in a module's names."""
