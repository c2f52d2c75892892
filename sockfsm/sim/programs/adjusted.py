"""Modules of the standard library that are changed a little where a program's run imports them.

Points of the schedule stand where the program asks for something, not inside the library, whose
details differ between versions. What is kept in sets is ordered by number, not by address.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from sockfsm.sim.programs.actor import Gone
from sockfsm.sim.programs.sites import hidden, programs
from sockfsm.sim.programs.switch import GreenletExit
from sockfsm.sim.programs.world import GLANCE

if TYPE_CHECKING:
    from sockfsm.sim.programs.imports import Imports


def _pointed(function: Callable[..., Any], name: str, of: Imports) -> Callable[..., Any]:
    home = of.home

    @wraps(function)
    def pointed(*args: Any, **kwargs: Any) -> Any:
        if programs(sys._getframe(1).f_code.co_filename):
            home.world.point(args[0] if args else None, name)
            home.world.spend(GLANCE)
        return function(*args, **kwargs)

    return pointed


def _points(**classes: str) -> Callable[[Any, Imports], None]:
    """Put a point before methods: class -> their names."""

    def adjust(module: Any, of: Imports) -> None:
        for name, methods in classes.items():
            made = getattr(module, name)
            for method in methods.split():
                if method in vars(made):
                    setattr(made, method, _pointed(vars(made)[method], method, of))

    return adjust


def _numbered(*names: str) -> Callable[[Any, Imports], None]:
    """Hash the objects of these classes by their number."""

    def adjust(module: Any, of: Imports) -> None:
        for name in names:
            if hasattr(module, name):
                of.numbers.give(getattr(module, name))

    return adjust


def _both(*adjusts: Callable[[Any, Imports], None]) -> Callable[[Any, Imports], None]:
    def adjust(module: Any, of: Imports) -> None:
        for one in adjusts:
            one(module, of)

    return adjust


def _walks(module: Any, of: Imports) -> None:
    """Tracebacks show the program's frames and the library's, as without us."""
    for name in ("walk_tb", "_walk_tb_with_full_positions"):
        walk = getattr(module, name, None)
        if walk is not None:
            setattr(module, name, _without_ours(walk))


def _without_ours(walk: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def walked(tb: Any) -> Any:
        for entry in walk(tb):
            if not hidden(entry[0].f_code.co_filename):
                yield entry

    return walked


def _threading(module: Any, of: Imports) -> None:
    hook = module.excepthook

    def excepthook(args: Any, /) -> None:
        if issubclass(args.exc_type, (Gone, GreenletExit)):
            return  # the end of its world
        if args.exc_type is not SystemExit and args.exc_value is not None:
            of.home.process.failed(args.exc_value, shown=False)
        hook(args)

    module.excepthook = module.__excepthook__ = excepthook


def _dataclasses(module: Any, of: Imports) -> None:
    process = module._process_class

    def processed(cls: Any, *args: Any, **kwargs: Any) -> Any:
        of.numbers.take_back(cls)
        made = process(cls, *args, **kwargs)
        of.numbers.give(made)
        return made

    module._process_class = processed


ADJUSTED: dict[str, Callable[[Any, Imports], None]] = {
    "threading": _both(
        _points(
            Condition="wait notify", Event="wait set clear is_set", Semaphore="acquire release",
            Barrier="wait", Thread="start join",
        ),
        _numbered("Thread"),
        _threading,
    ),
    "queue": _points(Queue="put get", _PySimpleQueue="put get"),
    "concurrent.futures._base": _both(
        _points(Future="result exception cancel done"), _numbered("Future")
    ),
    "concurrent.futures.thread": _points(ThreadPoolExecutor="submit shutdown"),
    "asyncio.events": _numbered("Handle", "TimerHandle"),
    "asyncio.futures": _numbered("_PyFuture"),
    "asyncio.protocols": _numbered("BaseProtocol"),
    "asyncio.streams": _numbered("StreamReader", "StreamWriter"),
    "asyncio.tasks": _numbered("_PyTask"),
    "asyncio.transports": _numbered("BaseTransport"),
    "dataclasses": _dataclasses,
    "socketserver": _numbered("BaseRequestHandler", "BaseServer"),
    "traceback": _walks,
}  # fmt: skip
"""Module -> what is changed when it has been loaded."""
