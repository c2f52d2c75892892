"""A trace's path over its machine: counts, times, waits, refusals; from made-up calls."""

import pytest
import toy_machine
from toy_trace import MS, echo_server, toy_call, toy_socket

from sockfsm.diagrams.counts import count_by_kind
from sockfsm.diagrams.graph import Edge, Graph, Meaning, Words
from sockfsm.diagrams.path import path
from sockfsm.errors import DrawingError
from sockfsm.events import Call

MACHINE = toy_machine.machine()


def drawn(calls: list[Call]) -> Graph:
    return path(calls, machines=[MACHINE])


def edge(graph: Graph, source: str, target: str) -> Edge:
    (found,) = (e for e in graph.edges if (e.source, e.target) == (source, target))
    return found


def lines(rows: tuple[Words, ...]) -> list[str]:
    return ["".join(word.text for word in row) for row in rows]


def test_time_in_a_state_runs_from_arrival_to_departure() -> None:
    (counts,) = count_by_kind(echo_server()).values()
    assert counts.sockets == 2
    assert counts.visits == {
        "CREATED": 1,
        "BOUND": 1,
        "LISTENING": 1,
        "CONNECTED": 1,
        "PEER_CLOSED": 1,
        "CLOSED": 2,
    }
    assert {state: time // MS for state, time in counts.time.items()} == {
        "CREATED": 1,
        "BOUND": 4,
        "LISTENING": 97,
        "CONNECTED": 48,
        "PEER_CLOSED": 2,
        "CLOSED": 0,
    }


def test_visited_states_show_visits_time_and_refusals() -> None:
    bound = drawn(echo_server()).nodes["BOUND"]
    assert lines(bound.rows) == ["1 visit · 4 ms", "bind: EINVAL \u00d72"]
    assert bound.rows[1][0].meaning is Meaning.REFUSED
    assert Meaning.VISITED in bound.meanings


def test_calls_and_waits_stand_where_they_happened() -> None:
    graph = drawn(echo_server())
    assert lines(edge(graph, "CREATED", "BOUND").rows) == ["bind"]
    assert lines(graph.nodes["CONNECTED"].rows) == [
        "1 visit · 48 ms",
        "↻ recv \u00d73  10 ms in 2 waits",
        "↻ send \u00d73",
    ]
    assert lines(graph.nodes["LISTENING"].rows) == ["1 visit · 97 ms", "↻ accept  40 ms"]
    assert lines(edge(graph, "CONNECTED", "PEER_CLOSED").rows) == ["recv: eof  8 ms"]


def test_the_data_socket_hangs_on_the_listening_one() -> None:
    made = edge(drawn(echo_server()), "LISTENING", "CONNECTED")
    assert made.meanings == {Meaning.MAKES}


def test_what_was_not_visited_is_grey() -> None:
    graph = drawn(echo_server())
    assert Meaning.PLAIN in graph.nodes["WRITE_SHUT"].meanings
    assert edge(graph, "CONNECTED", "WRITE_SHUT").meanings == {Meaning.PLAIN}


def test_one_socket_alone() -> None:
    calls = [call for call in echo_server() if call.socket and call.socket.number == 2]
    graph = drawn(calls)
    assert graph.subtitle == "tcp: 1 socket, 9 calls"
    assert Meaning.PLAIN in graph.nodes["LISTENING"].meanings


def test_a_refused_call_that_moves_is_a_red_edge() -> None:
    socket = toy_socket(1)
    moves = ("CREATED", "CREATED_WRITE_DEAD", "ENOTCONN")
    graph = drawn([toy_call(socket, 0, "shutdown_wr", *moves, errno=107)])
    assert edge(graph, "CREATED", "CREATED_WRITE_DEAD").meanings == {Meaning.REFUSED}


def test_what_no_rule_explains_stands_out_even_in_an_unknown_state() -> None:
    socket = toy_socket(1)
    graph = drawn([toy_call(socket, 0, "bind", "CREATED", "LIMBO", explained=False)])
    assert Meaning.UNEXPLAINED in graph.nodes["LIMBO"].meanings
    assert edge(graph, "CREATED", "LIMBO").meanings == {Meaning.UNEXPLAINED}


def test_a_call_that_sockfsm_stopped_is_told_from_one_the_kernel_refused() -> None:
    socket = toy_socket(1)
    call = toy_call(socket, 0, "accept", "CREATED", None, "EINVAL", errno=22, enforced=True)
    assert lines(drawn([call]).nodes["CREATED"].rows) == [
        "1 visit · 1 ms",
        "accept: EINVAL (stopped)",
    ]


def test_each_kind_has_its_frame() -> None:
    calls = [
        toy_call(toy_socket(1), 0, "bind", "CREATED", "BOUND"),
        toy_call(toy_socket(2, kind="unix-stream"), 0, "bind", "CREATED", "BOUND"),
    ]
    other = toy_machine.machine()
    other.kind = "unix-stream"
    graph = path(calls, machines=[MACHINE, other])
    assert [cluster.key for cluster in graph.clusters] == ["tcp", "unix_stream"]
    assert {"tcp/BOUND", "unix-stream/BOUND"} <= set(graph.nodes)


def test_nothing_to_draw_is_one_clear_line() -> None:
    with pytest.raises(DrawingError, match="nothing to draw in empty: no call"):
        path([], title="empty")
    with pytest.raises(DrawingError):
        path([toy_call(None, 0, "resolve", ""), toy_call(toy_socket(1, kind="other"), 0, "x", "")])
