"""Libraries whose sockets live in C, out of our sight: said at once, once."""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.tracer import current

_UNSEEN = {"uvloop": "its event loop makes and uses sockets in C"}


def look(names: Iterable[str]) -> None:
    """Tell of those of `names` that nobody can trace."""
    for name in _UNSEEN.keys() & set(names):
        tell(name, f"{_UNSEEN[name]}; this trace does not show them")


def unguarded(name: str) -> None:
    """Under enforce: the calls of this library's sockets are logged, and never stopped."""
    if current.session.mode == "enforce":
        tell(name, "enforce stops no call of its sockets; they are logged as under observe")


def tell(name: str, why: str) -> None:
    """Say once, on standard error and in the trace, what is not seen."""
    session = current.session
    if name not in session.told:
        session.told.add(name)
        session.log.note({"unseen": name, "why": why})
        session.report(f"{name}: {why}")
