"""A row keeps what was looked up once, and only where it is the same next time."""

from __future__ import annotations

import itertools

import pytest

import sockfsm
from sockfsm.model.compiled import Compiled
from sockfsm.model.kinds import KINDS, machine_of
from sockfsm.record.layout import NUMBER
from sockfsm.tracer.rows import Kind, Model, step


def kind_of(name: str) -> Kind:
    return Kind(name, Compiled.of(machine_of(name)))


def test_an_outcome_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of("tcp")
    created = kind.rows["CREATED"]
    looked: list[str] = []
    right = Compiled.step

    def counted(
        self: Compiled, state: str, call: str, outcome: str, variant: str = ""
    ) -> str | None:
        looked.append(call)
        return right(self, state, call, outcome, variant)

    monkeypatch.setattr(Compiled, "step", counted)
    for outcome in ("ok", "EADDRINUSE", "raised"):
        first = step(created, NUMBER["bind"], outcome, "blocking")
        assert step(created, NUMBER["bind"], outcome, "blocking") is first
    assert looked == ["bind", "bind"]  # `raised` is no outcome of the machine's


def test_what_somebody_observes_is_run_each_time() -> None:
    machine = sockfsm.machine("tcp", fresh=True)
    heard: list[str] = []
    transition = machine.get_transitions("bind_ok", "CREATED")[0]
    transition.add_callback("after", lambda: heard.append("bound"))
    kind = Kind("tcp", Compiled.of(machine))
    created = kind.rows["CREATED"]
    for _ in range(2):
        model = Model(1, created)
        step(created, NUMBER["bind"], "ok", "blocking", model)
        assert model.state == "BOUND"
    # Without a model nothing is run, and what comes of it is not kept for those that have one.
    step(created, NUMBER["bind"], "ok", "blocking")
    step(created, NUMBER["bind"], "ok", "blocking", Model(2, created))
    assert heard == ["bound"] * 3


@pytest.mark.parametrize("name", KINDS)
def test_the_fast_path_finds_what_was_looked_up_for_its_mode_alone(name: str) -> None:
    kind = kind_of(name)
    for row, method in itertools.product(list(kind.rows.values()), ("send", "recv", "recv_into")):
        number = NUMBER[method]
        for variant in ("timeout", "blocking zero", "nonblocking tls"):
            step(row, number, "ok", variant)
        step(row, number, "EAGAIN", "blocking")
        assert not {number, ~number} & row.keys()
        blocking = step(row, number, "ok", "blocking")
        assert row[number] is blocking
        assert ~number not in row
        nonblocking = step(row, number, "ok", "nonblocking")
        assert row[~number] is nonblocking
        assert row[number] is blocking
