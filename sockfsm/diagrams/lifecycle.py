"""The lifecycle of one kind of socket: its flat machine as a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sockfsm.diagrams.graph import Edge, Graph, Meaning, Node, Word, Words, words
from sockfsm.diagrams.stages import (
    BORN_OF_ACCEPT,
    ROADS,
    connectionless,
    goes_well,
    is_socket,
    main_states,
    seen_whole,
    stages,
    usual,
    waits,
    works,
)
from sockfsm.model.flat import Cell, FlatMachine
from sockfsm.model.rules import ACCEPTED, OK, WOULD_BLOCK

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine

_CALLS_PER_LINE = 3
_MANY = 6
_ERRNOS_SHOWN = 2


def lifecycle(
    machine: FlatMachine | SocketMachine, *, refusals: bool = False, full: bool = False
) -> Graph:
    """The lifecycle of a kind as a graph.

    machine: a kind's flat machine, or one from `sockfsm.machine`; transitions that were removed from
    it are not drawn, and a note names them. refusals: list in each state the calls that are refused
    there, by errno, and draw failed calls that change the state. full: draw every flat state, and every
    call that changes it.
    """
    flat = machine if isinstance(machine, FlatMachine) else machine.flat
    removed = set() if isinstance(machine, FlatMachine) else _removed(machine)
    shown = tuple(flat.states) if full else main_states(flat)
    stage = stages(flat)
    graph = Graph(
        title=f"{flat.kind}: {flat.table.title}",
        subtitle=_subtitle(flat, shown, refusals=refusals),
    )
    for state in shown:
        node = state_node(flat, state, stage[state])
        working = [cell for cell in work(flat, state, stage[state]) if _key(cell) not in removed]
        rows = tuple(staying(row) for row in call_rows(flat, working))
        if refusals:
            rows += refusal_rows(flat, state)
        graph.add(replace(node, rows=rows))
    road = main_road(flat)
    everywhere = common_ends(flat) if full else set()
    for cells in drawn_moves(flat, shown, stage, refusals=refusals, full=full):
        ends = cells[0].state, cells[0].target
        # A move that nearly all states have (such as close to CLOSED) is drawn on the main road
        # only.
        kept = [
            cell
            for cell in cells
            if ends in road or (cell.call, cell.target) not in everywhere
            if _key(cell) not in removed
        ]
        if kept:
            graph.link(move_edge(flat, kept, road))
    accepting = [state for state in shown if (state, "accept", OK) not in removed]
    graph.edges += births(flat, accepting, stage)
    if full and everywhere:
        ways = ", ".join(f"{call} to {target}" for call, target in sorted(everywhere))
        graph.notes.append(f"Drawn only on the main road, possible nearly everywhere: {ways}.")
    elif is_socket(flat):
        graph.notes.append(
            "close() is legal in every state; it is drawn where a life usually ends."
        )
    for call in dict.fromkeys(call for _, call, _ in sorted(removed)):
        states = dict.fromkeys(state for state, other, _ in sorted(removed) if other == call)
        graph.notes.append(f"Removed from this machine: {call} in {', '.join(states)}.")
    return graph


def _removed(machine: SocketMachine) -> set[tuple[str, str, str]]:
    """The keys of the cells whose transition somebody has removed from a machine."""
    events = machine.events
    return {
        _key(cell)
        for cell in machine.flat
        if cell.trigger not in events or not events[cell.trigger].transitions.get(cell.state)
    }


def common_ends(flat: FlatMachine) -> set[tuple[str, str]]:
    """(call, target) of moves that at least half of all states have: a note names them once."""
    count: dict[tuple[str, str], int] = {}
    for cell in flat:
        if cell.outcome in ACCEPTED and cell.state != cell.target:
            count[cell.call, cell.target] = count.get((cell.call, cell.target), 0) + 1
    return {way for way, states in count.items() if states * 2 >= len(flat.states)}


def _subtitle(flat: FlatMachine, shown: tuple[str, ...], *, refusals: bool) -> str:
    count = len(flat.states)
    text = f"all {count} states" if len(shown) == count else f"{len(shown)} main states of {count}"
    return (
        f"{text}; in each, the calls that the kernel refuses and their errno" if refusals else text
    )


def state_node(flat: FlatMachine, state: str, stage: Meaning) -> Node:
    """A state as a node, with its parts as tooltip."""
    meanings = {stage} | ({Meaning.INITIAL} if state == flat.initial else set())
    parts = zip(flat.table.parts, flat.states[state], strict=True)
    tip = f"{state}: " + ", ".join(f"{part} {value}" for part, value in parts)
    return Node(state, state, frozenset(meanings), tip=tip)


def staying(row: Words) -> Words:
    """The label of a call that stays in the state. It stands in the box, where no edge crosses it."""
    return (Word("↻ ", Meaning.STAYS), *row)


def refusal_rows(flat: FlatMachine, state: str) -> tuple[Words, ...]:
    """The calls that are refused in a state in the reference environment, by errno.

    Another environment may allow one (connect() again after a reset, recv() of no bytes); the edges
    and the machine's table show that.
    """
    reference = flat.table.reference
    by_errno: dict[str, list[str]] = {}
    for call in flat.calls:
        rule = flat.table.predict(call, flat.states[state], reference)
        if rule is not None and rule.refused:
            by_errno.setdefault(rule.outcome, []).append(call)
    rows = []
    for errno, calls in by_errno.items():
        # In a closed socket all calls fail alike: a list of them would be the largest box.
        if len(calls) > _MANY and len(by_errno) == 1:
            calls = ["every other call"]
        for start in range(0, len(calls), _CALLS_PER_LINE):
            head = f"{errno}  " if start == 0 else "    "
            line = ", ".join(calls[start : start + _CALLS_PER_LINE])
            rows.append((Word(head, Meaning.REFUSED), Word(line)))
    return tuple(rows)


def drawn_moves(
    flat: FlatMachine,
    shown: Iterable[str],
    stage: Mapping[str, Meaning],
    *,
    refusals: bool = False,
    full: bool = False,
) -> list[list[Cell]]:
    """The changes of state between the states `shown`; parallel ones are in one list.

    refusals: include failed calls that change the state. full: include mistakes and early ends, and
    the failed calls without which a state would have no edge.
    """
    among = set(shown)
    by_ends: dict[tuple[str, str], list[Cell]] = {}
    first = _first_ways(flat) if full else set()
    for cell in flat:
        if cell.state == cell.target or not {cell.state, cell.target} <= among:
            continue
        if not seen_whole(cell):
            continue
        failed = cell.outcome not in ACCEPTED
        # A failed call that changes the state is a trap: drawn on request, or where it is the only
        # way.
        wanted = refusals or _key(cell) in first if failed else full
        if wanted or _drawn(flat, cell, stage[cell.state]):
            by_ends.setdefault((cell.state, cell.target), []).append(cell)
    return list(by_ends.values())


def births(flat: FlatMachine, shown: Iterable[str], stage: Mapping[str, Meaning]) -> list[Edge]:
    """Edges from a listening state to the state in which `accept` makes a new socket."""
    among = list(shown)
    listening = [state for state in among if stage[state] is Meaning.LISTENING]
    return [
        Edge(
            state,
            cell.target,
            (words("accept makes it"),),
            frozenset({Meaning.MAKES}),
            tip=cell.rule.why,
        )
        for cell in flat.cells.get((flat.initial, BORN_OF_ACCEPT), ())
        if cell.outcome == OK and cell.target in among
        # One edge is enough: accept makes the same socket in every listening state.
        for state in listening[:1]
    ]


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.state, cell.call, cell.outcome


def _first_ways(flat: FlatMachine) -> set[tuple[str, str, str]]:
    """The cells by which a walk from the initial state first reaches each other state.

    It walks successful calls first; failed ones only where nothing else leads to a state.
    """
    seen, ways = {flat.initial}, set[tuple[str, str, str]]()
    for failing in (False, True):
        todo = [state for state in flat.states if state in seen]
        while todo:
            state = todo.pop(0)
            for call in flat.calls:
                for cell in flat.cells[state, call]:
                    taken = failing or cell.outcome in ACCEPTED
                    if taken and seen_whole(cell) and cell.target not in seen:
                        seen.add(cell.target)
                        ways.add(_key(cell))
                        todo.append(cell.target)
    return ways


def main_road(flat: FlatMachine, roads: Iterable[tuple[str, ...]] = ROADS) -> set[tuple[str, str]]:
    """The edges that the usual lives take. roads: each is a sequence of calls."""
    road: set[tuple[str, str]] = set()
    for calls in roads:
        state = flat.initial
        for call in calls:
            cell = flat.cell(state, call, OK)
            if cell is not None and goes_well(cell):
                road.add((state, cell.target))
                state = cell.target
    return road


def move_edge(flat: FlatMachine, cells: list[Cell], road: set[tuple[str, str]]) -> Edge:
    """Parallel cells as one edge with one label."""
    source, target = cells[0].state, cells[0].target
    legal = any(cell.outcome in ACCEPTED for cell in cells)
    on_road = (source, target) in road
    meaning = Meaning.LEGAL_PATH if on_road else Meaning.OTHER_PATH
    return Edge(
        source,
        target,
        tuple(call_rows(flat, cells)),
        frozenset({meaning if legal else Meaning.REFUSED}),
        tip="; ".join(
            dict.fromkeys(f"{cell.call} {cell.outcome}: {cell.rule.why}" for cell in cells)
        ),
        weight=8 if on_road else 1,
    )


def call_rows(flat: FlatMachine, cells: Iterable[Cell]) -> list[Words]:
    """The label of parallel cells: `send / recv`, and refused calls with their errnos."""
    pieces: dict[Word, None] = {}
    failed: dict[str, list[str]] = {}
    for cell in cells:
        if cell.outcome not in ACCEPTED:
            failed.setdefault(cell.call, []).append(cell.outcome)
            continue
        text = _called(flat, cell)
        if cell.outcome not in (OK, WOULD_BLOCK):
            text += f": {cell.outcome}"
        if cell.variant:
            text += f" ({cell.variant})"
        may_wait = waits(flat, cell.state, cell.call)
        pieces[Word(text, Meaning.WOULD_BLOCK if may_wait else None)] = None
    rows = _lines(list(pieces))
    for call, errnos in failed.items():
        rest = len(errnos) - _ERRNOS_SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        shown = ", ".join(errnos[:_ERRNOS_SHOWN])
        rows.append(words(f"{call}: {shown}{more}", Meaning.REFUSED))
    return rows


def _called(flat: FlatMachine, cell: Cell) -> str:
    """The call's word; `sendto` if a send without an address would be refused."""
    addressed = cell.call == "send" and connectionless(flat)
    return "sendto" if addressed and not works(flat, cell.state, "send") else cell.call


def _lines(pieces: list[Word]) -> list[Words]:
    rows = []
    for start in range(0, len(pieces), _CALLS_PER_LINE):
        row: list[Word] = []
        for number, piece in enumerate(pieces[start : start + _CALLS_PER_LINE]):
            row += [*([Word(" / ")] if number else []), piece]
        rows.append(tuple(row))
    return rows


def work(flat: FlatMachine, state: str, stage: Meaning) -> list[Cell]:
    """The calls that do the work of a state without leaving it: they move data or accept clients."""
    if stage not in (Meaning.LISTENING, Meaning.OPEN, Meaning.HALF):
        return []
    return [
        cell
        for call in ("accept", "send", "recv")
        for cell in flat.cells.get((state, call), ())
        if cell.outcome == OK and cell.target == state and seen_whole(cell)
        if connectionless(flat) or works(flat, state, call)
    ]


def _drawn(flat: FlatMachine, cell: Cell, stage: Meaning) -> bool:
    # close() is legal everywhere. It is drawn where a life usually ends; a note says the rest.
    return usual(flat, cell, stage) and (cell.call != "close" or stage is not Meaning.SETUP)
