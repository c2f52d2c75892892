"""Whose line it is: the innermost frame that is neither ours nor the standard library's."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from traceback import StackSummary, TracebackException
from types import FrameType

from sockfsm.events import Site

OURS = str(Path(__file__).parent.parent) + os.sep
_PATHS = sysconfig.get_paths()
LIBRARY = tuple({os.path.realpath(_PATHS[k]) + os.sep for k in ("stdlib", "platstdlib")})
_INSTALLED = ("site-packages", "dist-packages")
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
_whose: dict[str, bool] = {}


def programs(file: str) -> bool:
    """Whether code from `file` is a program's own."""
    known = _whose.get(file)
    if known is None:
        path = os.path.realpath(file)
        library = path.startswith(LIBRARY) and not any(name in path for name in _INSTALLED)
        known = _whose[file] = not (library or path.startswith(OURS) or file.startswith("<"))
    return known


def frame(found: FrameType | None) -> FrameType | None:
    """The innermost frame of a program's own code, from `found` on."""
    known = _whose.get
    while found is not None:
        file = found.f_code.co_filename
        own = known(file)
        if own or (own is None and programs(file)):
            return found
        found = found.f_back
    return None


def site() -> Site | None:
    """The place in a program's own code from which we were called."""
    return site_of(sys._getframe(1))


def site_of(innermost: FrameType | None) -> Site | None:
    """The innermost place in a program's own code."""
    found = frame(innermost)
    if found is None:
        return None
    code, outer = found.f_code, found.f_back
    name = code.co_name
    if name in _COMPREHENSIONS and outer is not None:
        name = outer.f_code.co_name  # from Python 3.12 on they have no frame of their own
    return Site(code.co_filename, found.f_lineno, name)


def called() -> str:
    """What the program called, by which we were called: `subprocess.run`."""
    name, found = "", sys._getframe(1)
    while found is not None and not programs(found.f_code.co_filename):
        code = found.f_code
        if not code.co_filename.startswith((OURS, "<")):
            module = found.f_globals.get("__name__", "")
            name = f"{module}.{getattr(code, 'co_qualname', code.co_name)}"
        found = found.f_back  # type: ignore[assignment]
    return name.removesuffix(".__init__")


def last(error: BaseException) -> Site | None:
    """The program's own line that an exception has come from."""
    tb, found = error.__traceback__, None
    while tb is not None:
        code = tb.tb_frame.f_code
        if programs(code.co_filename):
            found = Site(code.co_filename, tb.tb_lineno, code.co_name)
        tb = tb.tb_next
    return found


def importer_is_program() -> bool:
    """Whether a program's own line imports, and not the library's."""
    found: FrameType | None = sys._getframe(1)
    while found is not None and hidden(found.f_code.co_filename, "<string>"):
        found = found.f_back
    return found is not None and programs(found.f_code.co_filename)


def hidden(file: str, *more: str) -> bool:
    """Whether no traceback shows it: we, and the import system, which hides itself without us, too."""
    return file.startswith((OURS, "<frozen importlib", *more))


def strip(made: TracebackException) -> None:
    """Take our frames out of a traceback, and out of those that it came from."""
    made.stack = StackSummary.from_list(
        [entry for entry in made.stack if not hidden(entry.filename)]
    )
    for other in (made.__cause__, made.__context__):
        if other is not None:
            strip(other)
