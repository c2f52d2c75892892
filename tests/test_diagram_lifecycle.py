"""A machine's lifecycle as a graph: the main road first, everything when asked for."""

import toy_machine

from sockfsm.diagrams.graph import Edge, Graph, Meaning
from sockfsm.diagrams.lifecycle import common_ends, lifecycle
from sockfsm.diagrams.stages import main_states, stages
from sockfsm.diagrams.tcp_states import tcp_states
from sockfsm.model.kinds import flat_of
from sockfsm.tcp_names import STATES

MACHINE = toy_machine.machine()


def edge(graph: Graph, source: str, target: str) -> Edge:
    (found,) = (e for e in graph.edges if (e.source, e.target) == (source, target))
    return found


def expected(state: str, call: str) -> str:
    """The errno that refuses `call` in the reference environment, '' where it is taken."""
    rule = MACHINE.table.predict(call, MACHINE.states[state], MACHINE.table.reference)
    return rule.outcome if rule and rule.refused else ""


def label(edge: Edge) -> str:
    return "\n".join("".join(word.text for word in row) for row in edge.rows)


def test_stages_are_read_off_the_legal_calls() -> None:
    found = stages(MACHINE)
    assert {state: found[state].name for state in main_states(MACHINE)} == {
        "START": "SETUP",
        "RESOLVED": "SETUP",
        "CREATED": "SETUP",
        "BOUND": "SETUP",
        "CONNECTING": "SETUP",
        "LISTENING": "LISTENING",
        "CONNECTED": "OPEN",
        "WRITE_SHUT": "HALF",
        "PEER_CLOSED": "HALF",
        "BOTH_DONE": "DEAD",
        "CLOSED": "FINAL",
    }


def test_the_default_leaves_out_derived_states_mistakes_and_early_ends() -> None:
    graph = lifecycle(MACHINE)
    assert "CREATED_WRITE_DEAD" not in graph.nodes
    ends = {(e.source, e.target) for e in graph.edges}
    assert ("CREATED", "LISTENING") not in ends
    assert ("CREATED", "CLOSED") not in ends
    assert ("LISTENING", "CLOSED") in ends


def test_the_main_road_is_marked() -> None:
    graph = lifecycle(MACHINE)
    road = {(e.source, e.target) for e in graph.edges if Meaning.LEGAL_PATH in e.meanings}
    assert {("RESOLVED", "CREATED"), ("CREATED", "BOUND"), ("BOUND", "LISTENING")} <= road
    assert {("LISTENING", "CLOSED"), ("CREATED", "CONNECTED"), ("CONNECTED", "CLOSED")} <= road
    assert ("CONNECTED", "WRITE_SHUT") not in road


def test_parallel_calls_share_one_line_and_say_which_may_block() -> None:
    (row,) = lifecycle(MACHINE).nodes["CONNECTED"].rows
    assert "".join(word.text for word in row) == "↻ send / recv"
    assert [w.text for w in row if w.meaning is Meaning.WOULD_BLOCK] == ["send", "recv"]


def test_refusals_list_every_refused_call_by_errno() -> None:
    graph = lifecycle(MACHINE, refusals=True, full=True)
    for state, node in graph.nodes.items():
        rows = [row for row in node.rows if row[0].meaning is not Meaning.STAYS]
        text = " ".join(word.text for row in rows for word in row)
        refused = {call: outcome for call in MACHINE.calls if (outcome := expected(state, call))}
        if text == "EBADF   every other call":
            assert set(refused.values()) == {"EBADF"}
            continue
        assert [call for call in MACHINE.calls if call in text.replace(",", "").split()] == list(
            refused
        )
        assert {word for word in text.split() if word.startswith("E")} == set(refused.values())
    trap = edge(graph, "CREATED", "CREATED_WRITE_DEAD")
    assert label(trap) == "shutdown_wr: ENOTCONN"
    assert trap.meanings == {Meaning.REFUSED}


def test_full_draws_every_state_and_every_move_but_the_common_ends() -> None:
    graph = lifecycle(MACHINE, full=True)
    assert set(graph.nodes) == set(MACHINE.states)
    drawn = {(e.source, e.target) for e in graph.edges}
    told = common_ends(MACHINE)
    assert told == {("close", "CLOSED"), ("exit", "EXITED")}
    assert graph.notes == [
        "Drawn only on the main road, possible nearly everywhere: close to CLOSED, exit to EXITED."
    ]
    for cell in MACHINE:
        if cell.state != cell.target:
            assert (cell.state, cell.target) in drawn or (cell.call, cell.target) in told


def test_accept_leads_from_the_listening_socket_to_the_new_one() -> None:
    graph = lifecycle(MACHINE)
    made = edge(graph, "LISTENING", "CONNECTED")
    assert made.meanings == {Meaning.MAKES}
    assert not [e for e in graph.edges if (e.source, e.target) == ("START", "CONNECTED")]


def test_a_datagram_socket_without_a_peer_sends_to_an_address() -> None:
    graph = lifecycle(flat_of("udp"))
    assert label(edge(graph, "CREATED", "BOUND")) == "bind / sendto"
    for state, shown in (("BOUND", "↻ sendto / recv"), ("CONNECTED", "↻ send / recv")):
        assert "".join(word.text for word in graph.nodes[state].rows[0]) == shown


def test_tcps_own_states_have_both_roads_and_no_reset_from_everywhere() -> None:
    graph = tcp_states()
    assert set(graph.nodes) == set(STATES)
    road = {(e.source, e.target) for e in graph.edges if Meaning.LEGAL_PATH in e.meanings}
    assert {
        ("SYN-SENT", "ESTABLISHED"),
        ("FIN-WAIT-2", "TIME-WAIT"),
        ("LAST-ACK", "CLOSED"),
    } <= road
    assert ("FIN-WAIT-1", "CLOSING") not in road
    assert graph.notes == [
        "Not drawn, from every state but LISTEN: rcv_rst to CLOSED, snd_rst to CLOSED."
    ]
    assert not [e for e in graph.edges if "rst" in label(e)]
