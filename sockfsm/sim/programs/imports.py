"""A program's modules: a world of its own, in which what reaches the system is virtual.

Each program imports by a copy of Python's import system with a `sys.modules` of its own. So threading,
socket, asyncio and all the rest run unmodified over virtual `_thread`, `_socket`, `select`, `time` and
`posix`, and two programs share no state. What only computes, and what is written in C, is shared.
"""

from __future__ import annotations

import _imp
import builtins
import io
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from sockfsm.sim.programs.adjusted import ADJUSTED
from sockfsm.sim.programs.home import Home
from sockfsm.sim.programs.kept import Kept
from sockfsm.sim.programs.numbers import Numbers
from sockfsm.sim.programs.refused import refuse, refusing
from sockfsm.sim.programs.resolving import Resolving
from sockfsm.sim.programs.selecting import Selecting
from sockfsm.sim.programs.sites import LIBRARY, importer_is_program, programs
from sockfsm.sim.programs.system import System
from sockfsm.sim.programs.threads import Threads

if TYPE_CHECKING:
    from sockfsm.sim.programs.process import Process

_ABSENT = frozenset(
    {"_asyncio", "_datetime", "_pickle", "_posixshmem", "_queue", "_ssl", "_warnings"}
)
"""Modules in C whose Python twin, which the library falls back to, runs on virtual ones."""

_SHARED = frozenset(
    {
        "__future__", "_collections_abc", "_compat_pickle", "_markupbase", "_opcode_metadata",
        "_weakrefset", "abc", "ast", "base64", "bisect", "codecs", "collections", "collections.abc",
        "colorsys", "copyreg", "decimal", "dis", "fnmatch", "fractions", "functools", "hashlib",
        "heapq", "hmac", "html", "html.entities", "html.parser", "json", "json.decoder",
        "json.encoder", "json.scanner", "keyword", "linecache", "locale", "numbers", "opcode",
        "operator", "quopri", "re", "re._casefix", "re._compiler", "re._constants", "re._parser",
        "reprlib", "sre_compile", "sre_constants", "sre_parse", "stat", "string", "stringprep",
        "struct", "textwrap", "token", "tokenize", "types", "urllib.parse",
    }
)  # fmt: skip
"""Modules in Python that only compute."""

_REFUSED = {
    "_posixsubprocess": ("fork_exec",), "_multiprocessing": ("SemLock", "sem_unlink"),
}  # fmt: skip
"""What these cannot do here; importing them is no harm."""
_UNSEEN = frozenset({"ctypes", "eventlet", "gevent", "greenlet", "ssl", "uvloop", "zmq"})
"""What reaches the system by C code of its own, and cannot be simulated where a program asks for it.
The library itself does without."""


class Imports:
    """The modules of one program, in one run after the other.

    modules: its sys.modules. system: its view of the system.
    """

    def __init__(self, process: Process) -> None:
        self.home = home = Home()
        home.process, home.world = process, process.world
        self.system, self.threads = System(home), Threads(home)
        self.numbers = Numbers()
        self._resolving = Resolving(home, self.numbers)
        self.modules: dict[str, ModuleType] = {}
        self._foreign: set[str] = set()
        self._kept = Kept(self.modules)
        self.builtins = self._builtins()
        self._made: dict[str, Callable[[], Mapping[str, object]]] = {
            "_thread": self.threads.module, "_socket": self._resolving.module,
            "select": Selecting(home).module, "posix": self.system.posix, "time": self.system.time,
            "_random": self.system.random, "_signal": self.system.signal,
            "fcntl": self.system.fcntl, "atexit": self.system.atexit,
        }  # fmt: skip
        self._sys = self._new("sys", vars(sys))
        self._sys.__dict__.update(
            modules=self.modules, meta_path=[], path_hooks=[], path_importer_cache={},
            warnoptions=[], settrace=refusing("sys.settrace"), setprofile=refusing("sys.setprofile"),
        )  # fmt: skip
        self.modules["sys"], self.modules["builtins"] = self._sys, self.builtins
        self._bootstrap()
        self._base = dict(self.modules)
        self._bases = [(module, dict(module.__dict__)) for module in (self._sys, self.builtins)]

    def begin(self, process: Process, argv: list[str], path: list[str]) -> None:
        """A run begins, in this process."""
        self.home.process, self.home.world = process, process.world
        for part in (self.system, self.threads, self._resolving, self.numbers):
            part.reset()
        self.modules.clear()
        self.modules.update(self._base)
        for module, names in self._bases:
            module.__dict__.clear()
            module.__dict__.update(names)
        self._sys.__dict__.update(
            argv=argv, path=[*path, *sys.path[1:]], stdout=process.out, stderr=process.err,
            __stdout__=process.out, __stderr__=process.err, stdin=io.StringIO(),
            __stdin__=io.StringIO(), meta_path=[self], orig_argv=list(argv),
            excepthook=process.report, __excepthook__=process.report,
        )  # fmt: skip

    def run(self, module: str, file: str, code: CodeType | None) -> None:
        """Run the program as `__main__`."""
        main = self.modules["__main__"] = ModuleType("__main__")
        if code is None:
            runpy: Any = self.builtins.__dict__["__import__"]("runpy")
            runpy._run_module_as_main(module)
            return
        main.__dict__.update(
            __builtins__=self.builtins, __file__=file or None, __cached__=None, __annotations__={}
        )
        exec(code, main.__dict__)

    def _new(self, name: str, names: Mapping[str, object]) -> ModuleType:
        module = ModuleType(name)
        module.__dict__.update(names)
        module.__name__ = name
        module.__dict__.pop("__file__", None)
        return module

    def _builtins(self) -> ModuleType:
        module = self._new("builtins", vars(builtins))
        file = self.system.file

        def written(*values: object, sep: str | None = " ", end: str | None = "\n",
                    file: Any = None, flush: bool = False) -> None:  # fmt: skip
            target = self._sys.stdout if file is None else file
            if target is not None:
                builtins.print(*values, sep=sep, end=end, file=target, flush=flush)

        def read(prompt: object = "", /) -> str:
            written(prompt, end="")
            line = self._sys.stdin.readline()
            if not line:
                raise EOFError("EOF when reading a line")
            return str(line).removesuffix("\n")

        def leave(code: object = None) -> None:
            raise SystemExit(code)

        def build(function: Any, name: str, *bases: Any, **kwargs: Any) -> Any:
            made = builtins.__build_class__(function, name, *bases, **kwargs)
            if programs(function.__code__.co_filename):
                self.numbers.give(made)
            return made

        module.__dict__.update(
            __build_class__=build, print=written, input=read, open=file, exit=leave, quit=leave,
            breakpoint=refusing("breakpoint"),
        )  # fmt: skip
        return module

    def _bootstrap(self) -> None:
        """Copy the import system."""
        inner, outer = ModuleType("_frozen_importlib"), ModuleType("_frozen_importlib_external")
        names: Any = inner.__dict__
        names["__builtins__"] = self.builtins.__dict__
        exec(_imp.get_frozen_object("_frozen_importlib"), names)
        self.modules |= {"_frozen_importlib": inner, "_frozen_importlib_external": outer}
        names |= {"sys": self._sys, "_imp": _imp}
        for name in ("_thread", "_weakref", "_warnings"):
            names[name] = self._take(name)
        if "_WeakValueDictionary" in names and not isinstance(names.get("_blocking_on"), dict):
            names["_blocking_on"] = names["_WeakValueDictionary"]()
        self.builtins.__dict__["__import__"] = self._importing(names["__import__"])
        self._module_spec = names["ModuleSpec"]
        for name in ("_imp", "_io", "marshal", "posix"):
            self._take(name)
        outside: Any = outer.__dict__
        outside["__builtins__"] = self.builtins.__dict__
        exec(_imp.get_frozen_object("_frozen_importlib_external"), outside)
        outside["_install"](inner)
        names["_bootstrap_external"] = outer
        self._finder = outside["PathFinder"]
        self._extension = outside["ExtensionFileLoader"]
        for name in ("_thread", "_weakref", "_warnings", "_imp", "_io", "marshal", "posix"):
            del self.modules[name]

    def _importing(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        modules, kept = self.modules, self._kept

        def __import__(  # noqa: N807 - its name
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
            if not level and name not in modules:
                kept.revive(name)
            module = plain(name, globals, locals, fromlist, level)
            for word in fromlist or ():
                # What imports in a circle finds in sys.modules what is not an attribute yet; the
                # interpreter would look into its own.
                if not hasattr(module, word):
                    part = modules.get(f"{module.__name__}.{word}")
                    if part is not None:
                        setattr(module, word, part)
            return module

        return __import__

    def _take(self, name: str) -> ModuleType:
        """A module that is not loaded from a file: virtual, or a copy of the real one's names."""
        made = self._made.get(name)
        if made is not None:
            real = import_module(name)
            names = dict(made())
            names.setdefault("__doc__", real.__doc__)
        else:
            names = dict(vars(import_module(name)))
            if name in ("io", "_io"):
                names["open"] = self.system.file
            for refused in _REFUSED.get(name, ()):
                if refused in names:
                    names[refused] = refusing(f"{name.lstrip('_')}.{refused}")
        module = self.modules[name] = self._new(name, names)
        return module

    # A finder and a loader, as sys.meta_path has them

    def find_spec(self, name: str, path: Any = None, target: object = None) -> Any:
        """See importlib.abc.MetaPathFinder."""
        if name in _ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in _UNSEEN and importer_is_program():
            refuse(f"import {name}")
        top = name.partition(".")[0]
        if (
            name in self._made
            or name in sys.builtin_module_names
            or name in _SHARED | self._foreign
        ):
            return self._spec(name)
        spec = self._finder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            return spec
        if not spec.origin.startswith(LIBRARY) or "-packages" in spec.origin:
            if top in self._foreign or self._in_c(spec):
                self._foreign.add(name)
                return self._spec(name)
            return spec
        if isinstance(spec.loader, self._extension):
            return self._spec(name)
        spec.loader = _Loader(spec.loader, self)
        return spec

    def _in_c(self, spec: Any) -> bool:
        """Whether a package outside the library is written in C, in part: it is shared as a whole,
        because what is in C imports for itself."""
        if isinstance(spec.loader, self._extension):
            return True
        folders = spec.submodule_search_locations or ()
        suffixes = tuple(EXTENSION_SUFFIXES)
        return any(name.endswith(suffixes) for f in folders for name in os.listdir(f))

    def _spec(self, name: str) -> Any:
        shared = name in _SHARED or name in self._foreign
        package = shared and hasattr(import_module(name), "__path__")
        return self._module_spec(name, self, is_package=package)

    def create_module(self, spec: Any) -> ModuleType:
        """See importlib.abc.Loader."""
        module = self._take(spec.name)
        for name in ("__spec__", "__loader__", "__path__", "__package__"):
            module.__dict__.pop(name, None)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        self._kept.loaded(module)

    def load(self, module: ModuleType, load: Callable[[ModuleType], None]) -> None:
        """Load a module of the library, and remember it for the next run."""
        with self._kept.loading(module):
            load(module)
            adjust = ADJUSTED.get(module.__name__)
            if adjust is not None:
                adjust(module, self)


class _Loader:
    """The loader of a module of the library."""

    def __init__(self, loader: Any, of: Imports) -> None:
        self._loader, self._of = loader, of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        """See importlib.abc.Loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        self._of.load(module, self._loader.exec_module)
