"""What a flat state is in a picture: set up, listening, open, half shut, dead, closed.

Read off the calls that are legal there, so that it holds for every kind and every later state.
"""

from __future__ import annotations

from sockfsm.diagrams.graph import Meaning
from sockfsm.model.flat import Cell, FlatMachine
from sockfsm.model.rules import ACCEPTED, OK, WOULD_BLOCK

BORN_OF_ACCEPT = "accepted"
"""The call word under which machines and traces tell that accept made this socket."""

BORN_READY = frozenset({BORN_OF_ACCEPT, "socketpair", "adopt"})
"""The call words by which a socket comes into the program in a later state than a created one."""

ASIDE = frozenset({"exit", "detach"})
"""Ends of the program's doing, legal everywhere: they would only clutter a student's picture."""


def stages(flat: FlatMachine) -> dict[str, Meaning]:
    """Flat state -> SETUP, LISTENING, OPEN, HALF, DEAD or FINAL."""
    found = {state: _by_calls(flat, state) for state in flat.states}
    before_data = _reachable(flat, {state for state, stage in found.items() if stage is None})
    return {
        state: stage or (Meaning.SETUP if state in before_data else Meaning.DEAD)
        for state, stage in found.items()
    }


def _by_calls(flat: FlatMachine, state: str) -> Meaning | None:
    if can(flat, state, "accept"):
        return Meaning.LISTENING
    sends, receives = can(flat, state, "send"), can(flat, state, "recv")
    if sends and receives:
        return Meaning.OPEN
    if sends or receives:
        return Meaning.HALF
    if state != flat.initial and not can(flat, state, "create") and _bad_descriptor(flat, state):
        return Meaning.FINAL
    return None


def can(flat: FlatMachine, state: str, call: str) -> bool:
    """Whether `call` may do its work in `state`, now or after a wait."""
    outcomes = {cell.outcome for cell in flat.cells.get((state, call), ())}
    return bool(outcomes & {OK, WOULD_BLOCK})


def waits(flat: FlatMachine, state: str, call: str) -> bool:
    """Whether a blocking socket may sleep in `call`: a non-blocking one would be told so."""
    outcomes = {cell.outcome for cell in flat.cells.get((state, call), ())}
    return bool(outcomes & (ACCEPTED - {OK, "eof"}))


def _bad_descriptor(flat: FlatMachine, state: str) -> bool:
    return any(cell.outcome == "EBADF" for cell in flat.cells.get((state, "recv"), ()))


def _reachable(flat: FlatMachine, through: set[str]) -> set[str]:
    """The states of `through` that the initial one reaches without leaving `through`."""
    seen, todo = {flat.initial}, [flat.initial]
    while todo:
        state = todo.pop()
        for call in flat.calls:
            for cell in flat.cells[state, call]:
                if cell.target in through and cell.target not in seen:
                    seen.add(cell.target)
                    todo.append(cell.target)
    return seen


def goes_well(cell: Cell) -> bool:
    """A call that the kernel takes and that is no mistake, in the life of a created socket."""
    return cell.outcome in ACCEPTED and not cell.rule.lint and cell.call not in BORN_READY


def main_states(flat: FlatMachine) -> tuple[str, ...]:
    """The states a student should know: with a name of their own, reached by good calls."""
    own = {template for _, template in flat.table.names if not template.startswith("+")}
    seen, todo = {flat.initial}, [flat.initial]
    while todo:
        state = todo.pop()
        for call in flat.calls:
            for cell in flat.cells[state, call]:
                if call in ASIDE or not goes_well(cell):
                    continue
                if cell.target in own and cell.target not in seen:
                    seen.add(cell.target)
                    todo.append(cell.target)
    return tuple(state for state in flat.states if state in seen)
