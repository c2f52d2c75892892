"""Libraries whose sockets live in C, out of our sight: said at once, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sockfsm.tracer.recorder import log

_UNSEEN = {"uvloop": "its event loop makes and uses sockets in C"}
_told: set[str] = set()
guarding = [False]
"""Whether calls are refused before the kernel is asked."""
say: Callable[[str], None] = print
"""Says a line on standard error; the session gives it."""


def look(names: Iterable[str]) -> None:
    """Tell of those of `names` that nobody can trace."""
    for name in _UNSEEN.keys() & set(names):
        tell(name, f"{_UNSEEN[name]}; this trace does not show them")


def unguarded(name: str) -> None:
    """Under enforce: the calls of this library's sockets are logged, and never stopped."""
    if guarding[0]:
        tell(name, "enforce stops no call of its sockets; they are logged as under observe")


def tell(name: str, why: str) -> None:
    """Say once, on standard error and in the trace, what is not seen."""
    if name not in _told:
        _told.add(name)
        log.note({"unseen": name, "why": why})
        say(f"{name}: {why}")
