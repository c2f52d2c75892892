"""What `sockfsm.machine` gives is a `transitions` machine: step it, hang callbacks on it, draw it."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from transitions.core import MachineError

import sockfsm
from sockfsm.diagrams.graph import Meaning
from sockfsm.diagrams.lifecycle import lifecycle
from sockfsm.diagrams.render import draw
from sockfsm.model.kinds import KINDS, flat_of


def test_a_model_is_any_object_with_a_state() -> None:
    machine = sockfsm.machine("tcp")
    model = SimpleNamespace(state=machine.initial)
    for trigger, state in (
        ("create_ok", "CREATED"),
        ("shutdown_wr_ENOTCONN", "CREATED_WRITE_SHUT"),
        ("connect_EINPROGRESS", "CONNECTING_WRITE_SHUT"),
    ):
        assert machine.events[trigger].trigger(model)
        assert model.state == state
    with pytest.raises(MachineError, match="send_ok from state CONNECTING_WRITE_SHUT"):
        machine.events["send_ok"].trigger(model)
    assert model.state == "CONNECTING_WRITE_SHUT"


def test_a_model_that_is_added_gets_the_methods_of_transitions() -> None:
    machine = sockfsm.machine("udp", fresh=True)
    model: Any = SimpleNamespace()
    machine.add_model(model)
    assert model.create_ok()
    assert model.may_bind_ok()
    assert model.trigger("bind_ok")
    assert model.is_BOUND()
    assert not model.may_create_ok()


def test_a_model_begins_where_a_traced_socket_is() -> None:
    machine = sockfsm.machine("tcp")
    with sockfsm.tracing(), socket.create_server(("127.0.0.1", 0)) as server:
        model = SimpleNamespace(state=sockfsm.state(server))
        assert "accept_ok" in machine.get_triggers(model.state)
        assert "listen_EINVAL" not in machine.get_triggers(model.state)
        machine.events["close_ok"].trigger(model)
        assert (model.state, sockfsm.state(server)) == ("CLOSED", "LISTENING")


def test_a_traced_socket_is_a_model() -> None:
    machine = sockfsm.machine("tcp")
    with sockfsm.tracing(), sockfsm.socket() as sock:
        assert sock.state == "CREATED"
        assert machine.events["bind_ok"].trigger(sock)
        assert sock.state == sockfsm.state(sock) == "BOUND"
        with pytest.raises(MachineError, match="send_ok from state BOUND"):
            machine.events["send_ok"].trigger(sock)
        sock.listen()  # what the tracer sees goes on from there
        assert sock.history[-1].before == "BOUND"


def test_a_callback_gets_the_model_of_the_socket_that_is_traced() -> None:
    machine = sockfsm.machine("tcp", fresh=True)
    machine.send_event = True
    seen: list[tuple[str, str, str]] = []

    def entered(event: Any) -> None:
        seen.append((event.event.name, event.transition.source, event.model.state))

    machine.on_enter_LISTENING(entered)
    with sockfsm.tracing(machines={"tcp": machine}):
        socket.create_server(("127.0.0.1", 0)).close()
    assert seen == [("listen_ok", "BOUND", "LISTENING")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unchanged_machine_is_drawn_as_its_kind(kind: str) -> None:
    for options in ({}, {"full": True}, {"refusals": True}):
        plain = draw(lifecycle(flat_of(kind), **options), "dot")
        assert draw(lifecycle(sockfsm.machine(kind), **options), "dot") == plain


@pytest.mark.parametrize("full", [False, True])
def test_what_was_removed_from_a_machine_is_not_drawn_and_a_note_says_so(full: bool) -> None:
    strict = sockfsm.machine("tcp", fresh=True)
    strict.remove_transition("listen_ok", source="CREATED")
    strict.remove_transition("accept_ok", source="LISTENING")
    graph = lifecycle(strict, full=full)
    ends = {(edge.source, edge.target) for edge in graph.edges}
    assert ("BOUND", "LISTENING") in ends
    assert ("CREATED", "LISTENING") not in ends
    words = [word.text for row in graph.nodes["LISTENING"].rows for word in row]
    assert "accept" not in words
    assert not any(
        Meaning.MAKES in edge.meanings for edge in graph.edges if edge.source == "LISTENING"
    )
    assert "Removed from this machine: listen in CREATED." in graph.notes
    assert "Removed from this machine: accept in LISTENING." in graph.notes
