"""The machines as data, their flat lookup and the `transitions` machine say the same thing."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from transitions.core import MachineError

from sockfsm.errors import UsageError
from sockfsm.model.__main__ import compiled
from sockfsm.model.compiled import Compiled
from sockfsm.model.executed import build
from sockfsm.model.flat import FlatMachine
from sockfsm.model.kinds import KINDS, flat_of, machine_of, table_of
from sockfsm.model.rules import ACCEPTED, WITHOUT_DESCRIPTOR, Table, rule
from sockfsm.model.shipped import FILE, text
from sockfsm.model.stepping import GONE

WORDS = (
    *("bind", "listen", "accept", "connect", "send", "recv"),
    *("shutdown_rd", "shutdown_wr", "shutdown_rdwr", "disconnect", "close"),
)
kinds = pytest.mark.parametrize("kind", KINDS)


class Model:
    """What `transitions` moves."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


def outcomes(flat: FlatMachine) -> set[str]:
    return {cell.outcome for cell in flat} | {"EXDEV"}


@kinds
def test_lookup_and_transitions_machine_agree_on_the_whole_product(kind: str) -> None:
    """Every (state, call, outcome); where there is no cell, neither moves."""
    flat, machine = flat_of(kind), build(flat_of(kind))
    compiled = Compiled.of(machine)
    moved = 0
    product = itertools.product(flat.states, flat.calls, outcomes(flat))
    for state, call, outcome, variant in (
        (*cell, variant) for cell in product for variant in flat.ways[cell[0], cell[1]]
    ):
        cell = flat.cell(state, call, outcome, variant)
        model = Model(state)
        _, trigger = compiled.trigger(state, call, outcome, variant)
        event = machine.events.get(trigger)
        if cell is None:
            assert compiled.step(state, call, outcome, variant) is None
            if event is not None and not flat.cells.get((state, call)):
                with pytest.raises(MachineError):
                    event.trigger(model)
            continue
        assert event is not None
        assert event.trigger(model)
        assert model.state == cell.target
        possible = [way.target for way in flat.possible(state, call, outcome, variant)]
        reached = compiled.step(state, call, outcome, variant)
        assert reached is not None
        assert reached.split("|")[0] == cell.target
        assert set(reached.split("|")) == set(possible)
        moved += cell.target != state
    assert moved > 100


@kinds
def test_every_call_on_a_descriptor_has_an_outcome_in_every_state(kind: str) -> None:
    """An empty cell is a decision: only calls that make another socket have none."""
    flat = flat_of(kind)
    for (state, call), cells in flat.cells.items():
        if call not in WITHOUT_DESCRIPTOR or call == "exit":
            assert cells, (state, call)


@kinds
def test_the_reference_environment_gives_every_call_one_outcome(kind: str) -> None:
    table = table_of(kind)
    flat = flat_of(kind)
    for state, parts in flat.states.items():
        for call in WORDS:
            entry = table.predict(call, parts, table.reference)
            assert entry is not None, (state, call)
            cell = flat.cell(state, call, entry.outcome)
            assert cell is not None
            assert cell.rule is entry
            assert cell.target == table.name(table.after(entry, parts))


@kinds
def test_states_have_one_name_and_one_situation(kind: str) -> None:
    flat = flat_of(kind)
    assert flat.initial == "START"
    assert len(set(flat.states.values())) == len(flat.states)
    for name in ("CREATED", "BOUND", "CONNECTED", "CLOSED", "DETACHED", "EXITED"):
        assert name in flat.states
    assert all(name and name == name.upper() for name in flat.states)


@kinds
def test_the_states_before_and_after_the_descriptor(kind: str) -> None:
    flat = flat_of(kind)
    for state in flat.states:
        cell = flat.cell(state, "exit", "ok")
        assert cell is not None
        assert cell.target == "EXITED"
    for state in ("CLOSED", "DETACHED"):
        for call in WORDS[:-1]:
            refusal = flat.refusal(state, call)
            assert refusal is not None
            assert refusal.outcome == "EBADF"
        close = flat.cell(state, "close", "ok")
        assert close is not None
        assert close.target == state
    detach = flat.cell("CONNECTED", "detach", "ok")
    assert detach is not None
    assert detach.target == "DETACHED"


@kinds
def test_every_rule_says_why_and_where_it_stands_written(kind: str) -> None:
    for entry in table_of(kind).rules:
        first = entry.why.split()[0]
        assert first[0].isupper() or "(" in first, entry.why
        assert entry.why.endswith(".")
        assert entry.source
        if entry.refused and entry.outcome != "gaierror":
            assert hasattr(errno, entry.outcome), entry.outcome


@kinds
def test_every_part_and_fact_is_explained(kind: str) -> None:
    table = table_of(kind)
    assert set(table.parts) | set(table.environment) <= set(table.words)


@kinds
def test_every_rule_is_within_reach(kind: str) -> None:
    """A rule that never fits anywhere, in any environment, is dead text."""
    table = table_of(kind)
    used = set()
    todo = [table.initial]
    known = {table.initial}
    while todo:
        parts = todo.pop()
        for call in table.calls:
            for entry in table.fitting(call, parts):
                used.add(id(entry))
                after = table.after(entry, parts)
                if after not in known:
                    known.add(after)
                    todo.append(after)
    assert [(e.call, e.when, e.outcome) for e in table.rules if id(e) not in used] == []


def test_the_fresh_socket_shutdown_trap() -> None:
    flat = flat_of("tcp")
    state = "CREATED"
    for call, outcome, target in (
        ("shutdown_wr", "ENOTCONN", "CREATED_WRITE_SHUT"),
        ("connect", "EINPROGRESS", "CONNECTING_WRITE_SHUT"),
        ("connect", "ok", "CONNECTED_WRITE_SHUT"),
        ("send", "EPIPE", "CONNECTED_WRITE_SHUT"),
        ("recv", "EAGAIN", "CONNECTED_WRITE_SHUT"),
    ):
        cell = flat.cell(state, call, outcome)
        assert cell is not None, (state, call)
        assert cell.target == target
        state = target


def test_a_path_outlives_its_socket() -> None:
    flat = flat_of("unix-stream")
    for state, call, target in (
        ("LISTENING", "close", "CLOSED_PATH_LEFT"),
        ("CLOSED_PATH_LEFT", "unlink", "CLOSED"),
        ("LISTENING", "unlink", "LISTENING_UNLINKED"),
        ("LISTENING_UNLINKED", "close", "CLOSED"),
    ):
        cell = flat.cell(state, call, "ok")
        assert cell is not None
        assert cell.target == target


def test_watching_takes_the_rule_of_the_reference_environment_first() -> None:
    table = Table(
        "toy", "", {"a": ("x", "y", "z")}, {"e": ("one", "two")},
        (rule("go", "a=x", "ok", "a=y", given="e=two", why="", source=""),
         rule("go", "a=x", "ok", "a=z", why="", source="")),
        (("a=x", "X"), ("a=y", "Y"), ("a=z", "Z")),
    )  # fmt: skip
    cell = FlatMachine(table).cell("X", "go", "ok")
    assert cell is not None
    assert cell.target == "Z"
    other = table.predict("go", ("x",), {"e": "two"})
    assert other is not None
    assert other.then == {"a": "y"}


def test_a_refusal_is_told_by_the_rule_of_the_reference_environment() -> None:
    table = Table(
        "toy", "", {"a": ("x",)}, {"e": ("one", "two")},
        (rule("go", "", "EPERM", given="e=two", why="", source=""),
         rule("go", "", "EACCES", given="e=one", why="", source=""),
         rule("go", "", "EINVAL", why="", source="")),
        (("a=x", "X"),),
    )  # fmt: skip
    for facts, outcome in ((None, "EACCES"), ({"e": "two"}, "EPERM")):
        refusal = FlatMachine(table).refusal("X", "go", facts)
        assert refusal is not None
        assert refusal.outcome == outcome


def test_the_states_of_sockets_that_are_no_longer_open_are_those_of_the_machines() -> None:
    gone = {
        state
        for kind in KINDS
        for state, values in flat_of(kind).states.items()
        if dict(zip(flat_of(kind).table.parts, values, strict=True))["fd"] not in ("none", "open")
    }
    assert gone == GONE


def test_unknown_parts_values_and_kinds_are_named() -> None:
    with pytest.raises(ValueError, match="role=q is unknown"):
        Table("toy", "", {"role": ("a",)}, {}, (rule("go", "role=q", "ok", why="", source=""),), ())
    with pytest.raises(ValueError, match="then role=q is unknown"):
        Table("toy", "", {"role": ("a",)}, {},
              (rule("go", "", "ok", "role=q", why="", source=""),), ())  # fmt: skip
    with pytest.raises(UsageError, match="no kind 'sctp'"):
        table_of("sctp")


def test_one_machine_per_kind_is_shared() -> None:
    assert machine_of("tcp") is machine_of("tcp")
    assert "EAGAIN" in ACCEPTED


@kinds
def test_what_nobody_can_count_on_does_not_make_a_call_legal(kind: str) -> None:
    """recv(0), a timeout that hides a refusal, a reset nobody saw: explained, not legal."""
    for state, call, errno_name in {
        "tcp": (("LISTENING", "recv", "ENOTCONN"), ("LISTENING", "send", "EPIPE"),
                ("CONNECTED", "accept", "EINVAL"),
                ("CONNECTED", "connect", "EISCONN"), ("CREATED", "recv", "ENOTCONN")),
        "udp": (("CREATED", "accept", "EOPNOTSUPP"), ("BOUND", "bind", "EINVAL")),
        "unix-stream": (("CONNECTED", "connect", "EISCONN"), ("LISTENING", "recv", "EINVAL"),
                        ("CONNECTED", "accept", "EINVAL")),
        "unix-dgram": (("CONNECTED", "accept", "EOPNOTSUPP"),),
    }[kind]:  # fmt: skip
        refusal = flat_of(kind).refusal(state, call)
        assert refusal is not None, (state, call)
        assert refusal.outcome == errno_name
        compiled = Compiled.of(machine_of(kind))
        assert compiled.refusal(state, call) == errno_name
        assert call not in compiled.legal(state)
        assert not {"create", "accepted", "exit"} & set(compiled.legal(state))


def test_what_the_kernel_may_take_after_all_is_not_stopped() -> None:
    """A reset takes the assigned port back, and nobody who watches can know of it."""
    refusal = flat_of("tcp").refusal("CONNECTED", "bind")
    assert refusal is not None
    compiled = Compiled.of(machine_of("tcp"))
    assert compiled.refusal("CONNECTED", "bind") == ""
    assert compiled.refusal("BOUND", "bind") == "EINVAL"
    assert compiled.refusal("CREATED", "recv") == "ENOTCONN"
    assert compiled.refusal("CREATED", "recv", "zero") == ""
    both = compiled.step("CONNECTED", "send", "ok")
    assert both == "CONNECTED|CONNECTED_OWN_DATA|RESET_PIPE_ERROR"
    assert compiled.refusal(both, "send") == compiled.refusal(both, "recv") == ""
    assert compiled.refusal(both, "listen") == "EINVAL"


def test_the_shipped_machines_are_in_step_with_the_rules() -> None:
    assert Path(FILE).read_text(encoding="ascii") == text(compiled()), "run: make machines"


def test_only_a_machine_that_the_program_may_have_changed_is_compiled_anew() -> None:
    code = """
import sys, sockfsm, socket
if sys.argv[1:]:
    sockfsm.machine("tcp").on_enter_CREATED(lambda *_: print("created"))
with sockfsm.tracing() as trace:
    socket.socket().close()
print([call.after for call in trace.calls()], "transitions" in sys.modules)
"""

    def run(*arguments: str) -> str:
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    states = "['CREATED', 'CLOSED']"
    assert run() == f"{states} False\n"
    assert run("changed") == f"created\n{states} True\n"
