"""A program's modules: a world of its own, in which what reaches the system is virtual.

Each program imports by a copy of Python's import system with a `sys.modules` of its own. So threading,
socket, asyncio and all the rest run unmodified over virtual `_thread`, `_socket`, `select`, `time` and
`posix`, and two programs share no state. What only computes, and what is written in C, is shared.
"""

from __future__ import annotations

import _imp
import builtins
import io
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from sockfsm.sim.programs.adjusted import ADJUSTED
from sockfsm.sim.programs.refused import refuse, refusing
from sockfsm.sim.programs.resolving import Resolving
from sockfsm.sim.programs.selecting import Selecting
from sockfsm.sim.programs.sites import LIBRARY, importer_is_program
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
        "colorsys", "copyreg", "decimal", "dis", "fnmatch", "fractions", "functools", "genericpath_",
        "hashlib", "heapq", "hmac", "html", "html.entities", "html.parser", "json", "json.decoder",
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
    """The modules of one process.

    modules: its sys.modules. system: its view of the system.
    """

    def __init__(self, process: Process, argv: list[str], path: list[str]) -> None:
        self.system = system = System(process)
        self.threads = Threads(process)
        self.modules: dict[str, ModuleType] = {}
        self.builtins = self._builtins()
        self._made: dict[str, Callable[[], Mapping[str, object]]] = {
            "_thread": self.threads.module, "_socket": Resolving(process).module,
            "select": Selecting(process).module, "posix": system.posix, "time": system.time,
            "_random": system.random, "_signal": system.signal, "fcntl": system.fcntl,
            "atexit": system.atexit,
        }  # fmt: skip
        self._sys = self._system(process, argv, path)
        self.modules["sys"], self.modules["builtins"] = self._sys, self.builtins
        self._bootstrap()

    @property
    def sys(self) -> Any:
        """The process's `sys`."""
        return self._sys

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

        module.__dict__.update(
            print=written, input=read, open=file, exit=leave, quit=leave,
            breakpoint=refusing("breakpoint"),
        )  # fmt: skip
        return module

    def _system(self, process: Process, argv: list[str], path: list[str]) -> ModuleType:
        module = self._new("sys", vars(sys))
        module.__dict__.update(
            argv=argv, path=[*path, *sys.path[1:]], modules=self.modules, stdout=process.out,
            stderr=process.err, __stdout__=process.out, __stderr__=process.err,
            stdin=io.StringIO(), __stdin__=io.StringIO(), meta_path=[], path_hooks=[],
            path_importer_cache={}, warnoptions=[], settrace=refusing("sys.settrace"),
            setprofile=refusing("sys.setprofile"), orig_argv=list(argv), excepthook=process.report,
            __excepthook__=process.report,
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
        del self.modules["_warnings"]
        if "_WeakValueDictionary" in names and not isinstance(names.get("_blocking_on"), dict):
            names["_blocking_on"] = names["_WeakValueDictionary"]()
        self.builtins.__dict__["__import__"] = self._importing(names["__import__"])
        self._sys.__dict__["meta_path"].append(self)
        self._module_spec = names["ModuleSpec"]
        for name in ("_imp", "_io", "_warnings", "marshal", "posix"):
            self._take(name)
        outside: Any = outer.__dict__
        outside["__builtins__"] = self.builtins.__dict__
        exec(_imp.get_frozen_object("_frozen_importlib_external"), outside)
        del self.modules["_warnings"]
        outside["_install"](inner)
        names["_bootstrap_external"] = outer
        self._finder = outside["PathFinder"]
        self._extension = outside["ExtensionFileLoader"]
        self._sys.__dict__["meta_path"].remove(self._finder)

    def _importing(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        modules = self.modules

        def __import__(  # noqa: N807 - its name
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
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
        if name in self._made or name in sys.builtin_module_names or name in _SHARED:
            return self._spec(name)
        spec = self._finder.find_spec(name, path, target)
        if spec is None or spec.origin is None or not spec.origin.startswith(LIBRARY):
            return spec
        if isinstance(spec.loader, self._extension) and "-packages" not in spec.origin:
            return self._spec(name)
        adjust = ADJUSTED.get(name)
        if adjust is not None:
            spec.loader = _Adjusting(spec.loader, adjust, self)
        return spec

    def _spec(self, name: str) -> Any:
        package = name in _SHARED and hasattr(import_module(name), "__path__")
        return self._module_spec(name, self, is_package=package)

    def create_module(self, spec: Any) -> ModuleType:
        """See importlib.abc.Loader."""
        module = self._take(spec.name)
        for name in ("__spec__", "__loader__", "__path__", "__package__"):
            module.__dict__.pop(name, None)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""


class _Adjusting:
    """A loader that changes a module when it has been loaded."""

    def __init__(self, loader: Any, adjust: Callable[[Any, Imports], None], of: Imports) -> None:
        self._loader, self._adjust, self._of = loader, adjust, of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        """See importlib.abc.Loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        self._loader.exec_module(module)
        self._adjust(module, self._of)
