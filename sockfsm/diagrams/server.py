"""The life of a stream server, its data socket and its client, for TCP and UNIX in one picture.

The scripts below only name calls in order. Every state and every edge comes from walking them through
the machines, so the picture cannot show anything that the machines do not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sockfsm.diagrams.graph import Cluster, Edge, Graph, Meaning, Node, Word, Words, words
from sockfsm.diagrams.lifecycle import state_node
from sockfsm.diagrams.stages import BORN_OF_ACCEPT, stages, waits
from sockfsm.errors import DrawingError
from sockfsm.model.flat import Cell, FlatMachine
from sockfsm.model.kinds import flat_of
from sockfsm.model.rules import EOF, OK

KINDS = ("tcp", "unix-stream")
_TAGS = {"tcp": "TCP", "unix-stream": "UNIX"}


class ScriptCall(NamedTuple):
    """A call of a script. number: its place in the server's order, 0 for none. purpose: a remark."""

    call: str
    number: int = 0
    purpose: str = ""
    outcome: str = OK


class Actor(NamedTuple):
    """A socket of the picture and the calls of its life. Calls that its machine lacks are skipped."""

    key: str
    title: str
    steps: tuple[ScriptCall, ...]


LISTENER = Actor(
    "listening",
    "listening socket",
    (
        ScriptCall("resolve", 1, "getaddrinfo()"),
        ScriptCall("unlink", 2, "remove a stale name"),
        ScriptCall("create", 3),
        ScriptCall("bind", 4, "give it the name"),
        ScriptCall("listen", 5),
        ScriptCall("accept", 6, "for each client"),
        ScriptCall("close", 10),
        ScriptCall("unlink", 11, "unbind: remove the name"),
        ScriptCall("exit", 12),
    ),
)
DATA = Actor(
    "data",
    "data socket (one per client)",
    (
        ScriptCall("recv", 7, "read the request"),
        ScriptCall("send", 8, "write the answer"),
        ScriptCall("recv", 0, "the client has closed", EOF),
        ScriptCall("close", 9),
    ),
)
CLIENT = Actor(
    "client",
    "client process",
    (
        ScriptCall("resolve"),
        ScriptCall("create"),
        ScriptCall("connect"),
        ScriptCall("send"),
        ScriptCall("recv"),
        ScriptCall("close"),
        ScriptCall("exit"),
    ),
)


class _Taken(NamedTuple):
    """A call of a script, and the cell of one machine for it."""

    step: ScriptCall
    flat: FlatMachine
    cell: Cell


def server(machines: Sequence[FlatMachine] | None = None) -> Graph:
    """The picture. machines: by default those of `KINDS`.

    DrawingError if a machine forbids a call of a script.
    """
    flats = list(machines or map(flat_of, KINDS))
    graph = Graph(
        title="The life of a stream server",
        subtitle="the server's calls are numbered in their order; TCP and UNIX where they differ",
    )
    inner = [_actor(graph, actor, flats) for actor in (LISTENER, DATA, CLIENT)]
    graph.clusters = [
        Cluster("server", "server process", (), (inner[0], inner[1])),
        inner[2],
    ]
    _join(graph, flats)
    return graph


def _join(graph: Graph, flats: Sequence[FlatMachine]) -> None:
    """Draw what leads from one socket to another: accept makes one, and two exchange data."""
    asks = _where(CLIENT, "connect", flats)
    for state in _where(LISTENER, "accept", flats):
        listening = f"listening/{state}"
        for target in _where(DATA, "recv", flats)[:1]:
            graph.link(Edge(listening, f"data/{target}", (), frozenset({Meaning.MAKES})))
            for peer in _where(CLIENT, "send", flats):
                # The listening socket, a data socket and its client stand side by side.
                graph.level.append((listening, f"data/{target}", f"client/{peer}"))
                graph.link(_message(f"client/{peer}", f"data/{target}", "bytes", mutual=True))
        for client in asks:
            graph.link(_message(f"client/{client}", listening, "a request to connect"))


def _where(actor: Actor, call: str, flats: Sequence[FlatMachine]) -> list[str]:
    """The states in which an actor makes a call, each once."""
    taken = (one.cell for flat in flats for one in _walk(actor, flat))
    return list(dict.fromkeys(cell.state for cell in taken if cell.call == call))


def _message(source: str, target: str, text: str, *, mutual: bool = False) -> Edge:
    label, meanings = (words(text, Meaning.NOTE),), frozenset({Meaning.MESSAGE})
    return Edge(source, target, label, meanings, ranked=False, mutual=mutual)


def _actor(graph: Graph, actor: Actor, flats: Sequence[FlatMachine]) -> Cluster:
    """Add the states and moves of an actor. A call that stays in a state stands in the state's box."""
    by_ends: dict[tuple[str, str], dict[ScriptCall, list[_Taken]]] = {}
    flat_by_state: dict[str, FlatMachine] = {}
    for flat in flats:
        for one in _walk(actor, flat):
            ends = one.cell.state, one.cell.target
            by_ends.setdefault(ends, {}).setdefault(one.step, []).append(one)
            for state in ends:
                flat_by_state.setdefault(state, flat)
    for state, flat in flat_by_state.items():
        node = state_node(flat, state, stages(flat)[state])
        rows = _label(by_ends.get((state, state), {}), len(flats))
        graph.add(Node(f"{actor.key}/{state}", state, node.meanings, rows, node.tip))
    for (source, target), steps in by_ends.items():
        if source != target:
            rows = _label(steps, len(flats))
            ends = f"{actor.key}/{source}", f"{actor.key}/{target}"
            graph.link(Edge(*ends, rows, frozenset({Meaning.LEGAL_PATH}), weight=8))
    return Cluster(actor.key, actor.title, tuple(f"{actor.key}/{state}" for state in flat_by_state))


def _label(steps: Mapping[ScriptCall, list[_Taken]], kinds: int) -> tuple[Words, ...]:
    return tuple(row for step, ones in steps.items() for row in _rows(step, ones, kinds))


def _walk(actor: Actor, flat: FlatMachine) -> Iterator[_Taken]:
    state = flat.initial
    if actor is DATA:
        state = _follow(flat, state, ScriptCall(BORN_OF_ACCEPT)).target
    for step in actor.steps:
        # `unlink` is a call of UNIX sockets only, `resolve` one of TCP only.
        if step.call not in flat.calls:
            continue
        cell = _follow(flat, state, step)
        yield _Taken(step, flat, cell)
        state = cell.target


def _follow(flat: FlatMachine, state: str, step: ScriptCall) -> Cell:
    cell = flat.cell(state, step.call, step.outcome)
    if cell is None:
        raise DrawingError(
            f"the server's script does not fit {flat.kind}: no rule lets {step.call} end with "
            f"{step.outcome} in {state}"
        )
    return cell


def _rows(step: ScriptCall, ones: list[_Taken], kinds: int) -> list[Words]:
    may_wait = any(waits(one.flat, one.cell.state, step.call) for one in ones)
    text = step.call if step.outcome == OK else f"{step.call}: {step.outcome}"
    number = [Word(f"({step.number}) ", Meaning.NOTE)] if step.number else []
    row = [*number, Word(text, Meaning.WOULD_BLOCK if may_wait else None)]
    if len(ones) < kinds:
        row.append(Word("  " + ", ".join(_TAGS[one.flat.kind] for one in ones), Meaning.NOTE))
    rows: list[Words] = [tuple(row)]
    if step.purpose:
        rows.append((Word(step.purpose, Meaning.NOTE),))
    return rows
