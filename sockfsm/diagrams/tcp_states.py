"""TCP's own eleven states (RFC 9293, figure 5), drawn from their machine. Edges are segments."""

from __future__ import annotations

from sockfsm import tcp_names as tcp
from sockfsm.diagrams.graph import Graph, Meaning, Node
from sockfsm.diagrams.lifecycle import common_ends, main_road, move_edge
from sockfsm.model.flat import Cell, FlatMachine
from sockfsm.model.rfc9293 import TABLE

_ROADS = (
    ("snd_syn", "rcv_ack_syn", "snd_fin", "rcv_ack_fin", "rcv_fin", "timeout_2msl"),
    ("listen", "rcv_syn", "rcv_ack_syn", "rcv_fin", "snd_fin", "rcv_ack_fin"),
)
"""The usual lives as events in order: of the end that opens and closes first, and of the other end."""

_STAGES = {
    tcp.CLOSED: Meaning.FINAL,
    tcp.LISTEN: Meaning.LISTENING,
    tcp.ESTABLISHED: Meaning.OPEN,
    tcp.FIN_WAIT_1: Meaning.HALF,
    tcp.FIN_WAIT_2: Meaning.HALF,
    tcp.CLOSE_WAIT: Meaning.HALF,
    tcp.CLOSING: Meaning.DEAD,
    tcp.LAST_ACK: Meaning.DEAD,
    tcp.TIME_WAIT: Meaning.DEAD,
}


def tcp_states() -> Graph:
    """The figure as a graph. A note names the moves that every state has."""
    flat = FlatMachine(TABLE)
    graph = Graph(
        title="TCP's own states",
        subtitle="RFC 9293, figure 5: what one end sends (snd) and receives (rcv)",
    )
    for state in flat.states:
        meanings = {_STAGES.get(state, Meaning.SETUP)}
        if state == flat.initial:
            meanings.add(Meaning.INITIAL)
        graph.add(Node(state, state, frozenset(meanings)))
    road, everywhere = main_road(flat, _ROADS), common_ends(flat)
    moves: dict[tuple[str, str], list[Cell]] = {}
    for cell in flat:
        if cell.state != cell.target and (cell.call, cell.target) not in everywhere:
            moves.setdefault((cell.state, cell.target), []).append(cell)
    for cells in moves.values():
        graph.link(move_edge(flat, cells, road))
    ways = ", ".join(f"{call} to {target}" for call, target in sorted(everywhere))
    graph.notes.append(f"Not drawn, from every state but LISTEN: {ways}.")
    return graph
