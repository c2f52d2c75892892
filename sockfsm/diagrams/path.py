"""The path of a trace, drawn over the machines of its sockets."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10

from sockfsm.diagrams.counts import KindCounts, PathMove, count_by_kind
from sockfsm.diagrams.graph import Cluster, Edge, Graph, Meaning, Node, Word, Words, words
from sockfsm.diagrams.labels import times
from sockfsm.diagrams.lifecycle import drawn_moves, move_edge, state_node, staying
from sockfsm.diagrams.stages import main_states, stages
from sockfsm.errors import DrawingError
from sockfsm.events import Call
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import flat_of
from sockfsm.model.rules import OK
from sockfsm.views.text import duration

_REFUSED_LINES = 5


def path(
    calls: Iterable[Call],
    *,
    title: str = "the path of a trace",
    full: bool = False,
    machines: Iterable[FlatMachine] = (),
) -> Graph:
    """The states and moves that `calls` took; the rest of the machine is grey.

    Pass the calls of one socket to see only its life. full: draw all states, visited or not. machines:
    use these instead of the kinds' own. DrawingError if no call is of a socket that has a machine.
    """
    own = {flat.kind: flat for flat in machines}
    by_kind = count_by_kind(calls)
    if not by_kind:
        raise DrawingError(f"nothing to draw in {title}: no call of a socket that has a machine")
    graph = Graph(title=title, subtitle=_subtitle(by_kind))
    for kind, counts in by_kind.items():
        flat = own.get(kind) or flat_of(kind)
        # Two kinds have states of the same name, and keys are unique in a graph.
        prefix = f"{kind}/" if len(by_kind) > 1 else ""
        keys = _overlay(graph, flat, counts, prefix, full=full)
        if prefix:
            graph.clusters.append(Cluster(kind.replace("-", "_"), flat.table.title, keys))
    graph.notes.append(
        "In a state: visits, time, calls that stayed; on an edge: calls that led on."
    )
    return graph


def _subtitle(by_kind: dict[str, KindCounts]) -> str:
    return "; ".join(
        f"{kind}: {_plural(counts.sockets, 'socket')}, {_plural(counts.calls, 'call')}"
        for kind, counts in by_kind.items()
    )


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("s" if count != 1 else "")


def _overlay(
    graph: Graph, flat: FlatMachine, counts: KindCounts, prefix: str, *, full: bool
) -> tuple[str, ...]:
    """Draw one kind; returns the keys of its nodes."""
    stage = stages(flat)
    base = tuple(flat.states) if full else main_states(flat)
    # A state that was visited is shown even if it is not among the main ones.
    shown = tuple(dict.fromkeys([*base, *counts.visits]))
    for state in shown:
        if state in flat.states:
            node = state_node(flat, state, stage[state])
        else:
            node = Node(state, state, frozenset({Meaning.UNEXPLAINED}))
        graph.add(_visited_node(node, counts, prefix))
    by_ends: dict[tuple[str, str], dict[PathMove, int]] = {}
    for move, count in counts.moves.items():
        if move.source != move.target:
            by_ends.setdefault((move.source, move.target), {})[move] = count
    for (source, target), moves in by_ends.items():
        graph.link(_visited_edge(prefix + source, prefix + target, moves, counts))
    for cells in drawn_moves(flat, base, stage, full=full):
        ends = (cells[0].state, cells[0].target)
        if ends not in by_ends:
            graph.link(_grey(move_edge(flat, cells, set()), prefix))
    for (source, target), count in counts.made.items():
        row = (Word(f"accept makes it {times(count)}".rstrip()),)
        meanings = frozenset({Meaning.MAKES})
        graph.link(Edge(prefix + source, prefix + target, (row,), meanings))
    return tuple(prefix + state for state in shown)


def _visited_node(node: Node, counts: KindCounts, prefix: str) -> Node:
    state = node.key
    visits = counts.visits[state]
    if not visits:
        meanings = (node.meanings & {Meaning.INITIAL}) | {Meaning.PLAIN}
        return Node(prefix + state, node.label, meanings, (), node.tip)
    stay = counts.time[state]
    rows: list[Words] = [
        words(_plural(visits, "visit") + (f" · {duration(stay)}" if stay else ""), Meaning.NOTE)
    ]
    stayed = counts.stayed(state)
    rows += [staying(_move_row(move, count, counts)) for move, count in stayed.items()]
    refused = counts.refused(state)
    for move, count in list(refused.items())[:_REFUSED_LINES]:
        by = " (stopped)" if move.enforced else ""
        text = f"{move.call}: {move.outcome} {times(count)}".rstrip() + by
        rows.append((Word(text, Meaning.REFUSED),))
    if len(refused) > _REFUSED_LINES:
        rest = len(refused) - _REFUSED_LINES
        rows.append((Word(f"and {rest} other refusals", Meaning.REFUSED),))
    return Node(
        prefix + state, node.label, node.meanings | {Meaning.VISITED}, tuple(rows), node.tip
    )


def _visited_edge(source: str, target: str, moves: dict[PathMove, int], counts: KindCounts) -> Edge:
    rows = tuple(_move_row(move, count, counts) for move, count in moves.items())
    if any(not move.explained for move in moves):
        meaning = Meaning.UNEXPLAINED
    elif all(move.refused for move in moves):
        meaning = Meaning.REFUSED
    else:
        meaning = Meaning.VISITED
    # Ten thousand calls are drawn twice as wide as one; beyond that width says no more.
    strength = 1 + min(1.0, log10(sum(moves.values())) / 4)
    return Edge(source, target, rows, frozenset({meaning}), weight=6, strength=strength)


def _move_row(move: PathMove, count: int, counts: KindCounts) -> Words:
    text = move.call if move.outcome == OK else f"{move.call}: {move.outcome}"
    meaning = None
    if move.refused:
        meaning = Meaning.REFUSED
    if not move.explained:
        meaning = Meaning.UNEXPLAINED
    row = [Word(f"{text} {times(count)}".rstrip(), meaning)]
    waited = counts.waited.get(move)
    if waited:
        often = "" if waited.count == count else f" in {_plural(waited.count, 'wait')}"
        row += [Word("  "), Word(duration(waited.time) + often, Meaning.WAITED)]
    return tuple(row)


def _grey(edge: Edge, prefix: str) -> Edge:
    rows = tuple(tuple(Word(word.text, Meaning.PLAIN) for word in row) for row in edge.rows)
    meanings = frozenset({Meaning.PLAIN})
    return Edge(prefix + edge.source, prefix + edge.target, rows, meanings, edge.tip)
