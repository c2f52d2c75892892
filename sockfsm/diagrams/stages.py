"""The stage of a flat state in a picture: being set up, listening, open, half shut, dead or closed.

It is derived from the parts `fd` and `role` and from the calls that work in the state, so it needs no
change for a new kind or a new state.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sockfsm.diagrams.graph import Meaning
from sockfsm.model.flat import Cell, FlatMachine
from sockfsm.model.rules import ACCEPTED, CONTINUE, OK, WOULD_BLOCK

BORN_OF_ACCEPT = "accepted"
"""The call word with which machines and traces record that accept made this socket."""

BORN_READY = frozenset({BORN_OF_ACCEPT, "socketpair", "adopt"})
"""The call words with which a socket begins in a later state than CREATED."""

ASIDE = frozenset({"exit", "detach", "disconnect", "so_error"})
"""Calls outside the usual life. They are legal nearly everywhere and would clutter a picture."""

ROADS = (
    ("resolve", "create", "bind", "listen", "close", "unlink", "exit"),
    ("resolve", "create", "connect", "close", "exit"),
)
"""The usual lives, as calls in order. A call that a kind lacks, or refuses there, is skipped."""

STEPS = frozenset(call for road in ROADS for call in road) - ASIDE
"""The calls that set up and close a socket."""


@lru_cache(maxsize=8)
def stages(flat: FlatMachine) -> Mapping[str, Meaning]:
    """Flat state -> SETUP, LISTENING, OPEN, HALF, DEAD or FINAL."""
    return {state: _stage(flat, state) for state in flat.states}


def _stage(flat: FlatMachine, state: str) -> Meaning:
    if not is_socket(flat):
        if state == flat.initial:
            return Meaning.SETUP
        return Meaning.OPEN if flat.legal(state) else Meaning.FINAL
    situation = dict(zip(flat.table.parts, flat.states[state], strict=True))
    role = situation.get("role", "fresh")
    if state == flat.initial or situation.get("fd") == "none":
        return Meaning.SETUP
    if situation.get("fd") != "open":
        return Meaning.FINAL
    if works(flat, state, "accept"):
        return Meaning.LISTENING
    if connectionless(flat):
        able = [situation[side] == "open" for side in ("wr", "rd")]
        # A datagram socket without a name and a peer can only be set up.
        if situation["name"] == situation["peer"] == "no":
            return Meaning.SETUP
    else:
        able = [works(flat, state, call) for call in ("send", "recv")]
    if all(able):
        return Meaning.SETUP if role == "connecting" else Meaning.OPEN
    if any(able):
        return Meaning.HALF
    # Neither side works: before a connection that is normal, after one it is the end.
    beginning = role in ("fresh", "connecting") and not connectionless(flat)
    return Meaning.SETUP if beginning else Meaning.DEAD


def is_socket(flat: FlatMachine) -> bool:
    """Whether the machine is a socket's; else it is one of a protocol above sockets."""
    return "fd" in flat.table.parts


def connectionless(flat: FlatMachine) -> bool:
    """Whether the kind sends datagrams: its sockets have no role in a connection."""
    return is_socket(flat) and "role" not in flat.table.parts


def works(flat: FlatMachine, state: str, call: str) -> bool:
    """Whether `call` succeeds in `state`, now or after a wait, in the reference environment."""
    expected = flat.table.predict(call, flat.states[state], flat.table.reference)
    return expected is not None and expected.outcome in (OK, WOULD_BLOCK)


def waits(flat: FlatMachine, state: str, call: str) -> bool:
    """Whether `call` may block a blocking socket. A non-blocking one gets EAGAIN or the like there."""
    outcomes = {cell.outcome for cell in flat.cells.get((state, call), ())}
    return bool(outcomes & (ACCEPTED - {OK, "eof", CONTINUE}))


def goes_well(cell: Cell) -> bool:
    """Whether the call succeeds and is no mistake, in the life of a created socket."""
    return cell.outcome in ACCEPTED and not cell.rule.lint and cell.call not in BORN_READY


def seen_whole(cell: Cell) -> bool:
    """False for what is only possible if something happened to the socket unseen by sockfsm."""
    return all(g.holds("complete") for g in cell.rule.given if g.name == "history")


def usual(flat: FlatMachine, cell: Cell, stage: Meaning) -> bool:
    """Whether a call belongs to the usual life in a state of this stage."""
    if not goes_well(cell) or not seen_whole(cell) or cell.variant:
        return False
    if not is_socket(flat):
        return True
    if stage in (Meaning.SETUP, Meaning.LISTENING):
        return cell.call in STEPS or (connectionless(flat) and cell.call == "send")
    return cell.call not in ASIDE


def main_states(flat: FlatMachine) -> tuple[str, ...]:
    """The states that a student should know: those with their own name that usual calls reach."""
    own = {template for _, template in flat.table.names if not template.startswith("+")}
    stage = stages(flat)
    seen, todo = {flat.initial}, [flat.initial]
    while todo:
        state = todo.pop()
        for call in flat.calls:
            for cell in flat.cells[state, call]:
                if (
                    cell.target in own
                    and cell.target not in seen
                    and usual(flat, cell, stage[state])
                ):
                    seen.add(cell.target)
                    todo.append(cell.target)
    return tuple(state for state in flat.states if state in seen)
