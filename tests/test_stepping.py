"""Stepping: every state, call, outcome and variant of every kind, against the rules' own ways."""

from __future__ import annotations

import pytest

from sockfsm.model.compiled import Compiled
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import KINDS, flat_of, machine_of
from sockfsm.model.stepping import UNJUDGED, UNMODELLED, Step, Stepping
from sockfsm.model.variants import VARIANTS
from sockfsm.record.layout import METHODS, NUMBER, REFUSED, UNEXPLAINED
from sockfsm.tracer.rows import Kind, step

MODES = ("blocking", "timeout", "nonblocking")
WORDS = ("", *(word for word in VARIANTS if word not in MODES and word != "fastopen"))


def outcomes(flat: FlatMachine, call: str) -> list[str]:
    """All that the call ends with in some state, and one that no rule knows."""
    cells = [c for (_, word), ways in flat.cells.items() if word == call for c in ways]
    return [*dict.fromkeys(cell.outcome for cell in cells), "EXDEV"]


@pytest.mark.parametrize("name", KINDS)
def test_every_step_is_the_ways_of_the_rules(name: str) -> None:
    flat, stepping = flat_of(name), Stepping(Compiled.of(machine_of(name)))
    assert stepping.compiled is not None
    refusals = stepping.compiled.refusals
    for state in flat.states:
        for call in flat.calls:
            for outcome in outcomes(flat, call):
                for variant in (f"{mode} {word}".strip() for mode in MODES for word in WORDS):
                    found = stepping.step(state, "recv", call, outcome, variant)
                    ways = flat.possible(state, call, outcome, variant)
                    targets = {cell.target for cell in ways}
                    assert found.explained == bool(targets)
                    assert set(found.states.split("|")) == (targets or {state})
                    assert found.lasting
                    if variant in MODES:
                        assert found.refused == (call in refusals[state])


@pytest.mark.parametrize("name", KINDS)
def test_the_tracer_s_rows_are_the_steps(name: str) -> None:
    kind = Kind(name, Compiled.of(machine_of(name)))
    flat, stepping = flat_of(name), kind.stepping
    for state in flat.states:
        for method, call in METHODS:
            for outcome in (*outcomes(flat, call), *UNJUDGED):
                for variant in MODES:
                    found = stepping.step(state, method, call, outcome, variant)
                    row = kind.rows[state]
                    for _ in range(2):
                        bits, after = step(row, NUMBER[method], outcome, variant)
                        marks = bool(bits & UNEXPLAINED), bool(bits & REFUSED)
                        assert Step(after.states, not marks[0], marks[1], True) == found


def test_sockets_without_a_machine_stay_and_are_never_judged() -> None:
    stepping = Stepping(None)
    for method, call in METHODS:
        assert stepping.step(UNMODELLED, method, call, "EINVAL") == (UNMODELLED, True, False, True)
        assert not stepping.refusal(UNMODELLED, method, call)
        assert not stepping.moving(call)


def test_several_situations_step_together() -> None:
    stepping = Stepping(Compiled.of(machine_of("tcp")))
    assert (
        stepping.step("CREATED|BOUND", "listen", "listen", "ok", "blocking").states == "LISTENING"
    )
    assert not stepping.step("CREATED|BOUND", "bind", "bind", "EINVAL", "blocking").refused
    assert stepping.step("BOUND", "bind", "bind", "EINVAL", "blocking").refused


def test_a_send_with_an_address_is_refused_as_a_sendto_is() -> None:
    stepping = Stepping(Compiled.of(machine_of("udp")))
    for state in stepping.states:
        sendto = stepping.refusal(state, "sendto", "send")
        assert stepping.refusal(state, "send", "send", "blocking address") == sendto
        assert stepping.refusal(state, "sendmsg", "send", "blocking address") == sendto
    assert stepping.refusal("BOUND", "send", "send", "blocking") == "EDESTADDRREQ"
    assert not stepping.refusal("BOUND", "send", "send", "blocking address")
