"""The server's life: walked through the machines, never told beside them."""

import pytest
import toy_machine

from sockfsm.diagrams.graph import Edge, Graph, Meaning, Words
from sockfsm.diagrams.server import server
from sockfsm.errors import DrawingError

TOYS = [toy_machine.machine("tcp"), toy_machine.machine("unix-stream")]


def edge(graph: Graph, source: str, target: str) -> Edge:
    (found,) = (e for e in graph.edges if (e.source, e.target) == (source, target))
    return found


def text(rows: tuple[Words, ...]) -> str:
    return " | ".join("".join(word.text for word in row) for row in rows)


def test_the_steps_carry_their_numbers_and_what_they_are_for() -> None:
    graph = server(TOYS)
    assert text(edge(graph, "listening/CREATED", "listening/BOUND").rows) == (
        "(4) bind | give it the name"
    )
    assert text(graph.nodes["data/CONNECTED"].rows) == (
        "(7) recv | read the request | (8) send | write the answer"
    )


def test_every_number_from_1_to_12_is_there() -> None:
    graph = server(TOYS)
    labels = [text(e.rows) for e in graph.edges] + [text(n.rows) for n in graph.nodes.values()]
    for number in range(1, 13):
        assert any(f"({number}) " in label for label in labels), number


def test_what_only_one_kind_does_is_tagged() -> None:
    graph = server(TOYS)
    assert text(edge(graph, "listening/START", "listening/RESOLVED").rows).startswith(
        "(1) resolve  TCP"
    )
    assert "unlink  UNIX" in text(
        edge(graph, "listening/CLOSED_PATH_LEFT", "listening/CLOSED").rows
    )
    assert "TCP" not in text(edge(graph, "listening/BOUND", "listening/LISTENING").rows)


def test_accept_makes_the_data_socket_and_clients_reach_both() -> None:
    graph = server(TOYS)
    assert edge(graph, "listening/LISTENING", "data/CONNECTED").meanings == {Meaning.MAKES}
    assert edge(graph, "client/CREATED", "listening/LISTENING").meanings == {Meaning.MESSAGE}
    assert edge(graph, "client/CONNECTED", "data/CONNECTED").mutual


def test_calls_that_may_block_are_marked() -> None:
    graph = server(TOYS)
    marked = {
        word.text
        for rows in [n.rows for n in graph.nodes.values()] + [e.rows for e in graph.edges]
        for row in rows
        for word in row
        if word.meaning is Meaning.WOULD_BLOCK
    }
    assert marked == {"accept", "connect", "recv", "send", "recv: eof"}


def test_a_machine_that_forbids_a_step_is_named() -> None:
    flat = toy_machine.machine("tcp")
    flat.cells["BOUND", "listen"] = ()
    with pytest.raises(
        DrawingError, match="does not fit tcp: no rule lets listen end with ok in BOUND"
    ):
        server([flat])
