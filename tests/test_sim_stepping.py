"""Stepping through scenarios: the same run as `simulate`, forward, back, and by other events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from generated import scenarios
from hypothesis import given, settings
from hypothesis import strategies as st

from sockfsm.sim.run import Simulation
from sockfsm.sim.scenario import Actor, Scenario, Step, parse
from sockfsm.sim.shipped import load, names
from sockfsm.sim.stepping.looks import UNNAMED
from sockfsm.sim.stepping.stepper import Stepper
from sockfsm.sim.stepping.view import (
    BLOCKED,
    CALL,
    ENDED,
    PACKET,
    RETURN,
    STUCK,
    TIMER,
    SocketView,
    View,
)
from sockfsm.trace.encode import save
from sockfsm.trace.source import MemoryTrace
from sockfsm.trace.trace import Trace


def written(trace: MemoryTrace, folder: Path) -> dict[str, bytes]:
    """All files of a trace."""
    return {path.name: path.read_bytes() for path in sorted(save(trace, folder).iterdir())}


def sock(view: View, label: str) -> SocketView:
    """The socket of that name."""
    return next(one for one in view.sockets if one.label == label)


def stepped(name: str, until: str) -> Stepper:
    """A shipped scenario, until an actor's line that begins so has been taken."""
    stepper = Stepper(load(name))
    while stepper.step():
        last = stepper.view.last
        assert last is not None
        if last.choice.text.startswith(until):
            return stepper
    raise AssertionError(until)


@pytest.mark.parametrize("name", names())
def test_step_by_step_it_is_the_run_of_simulate(name: str, tmp_path: Path) -> None:
    simulation = Simulation(load(name), 7)
    wanted = written(simulation.run(), tmp_path / "wanted")
    stepper = Stepper(load(name), 7)
    views = [stepper.view]
    while stepper.step():
        views.append(stepper.view)
    assert stepper.over
    assert stepper.unmet == [str(failure) for failure in simulation.unmet] == []
    assert written(stepper.trace(), tmp_path / "trace") == wanted
    assert [view.steps for view in views] == list(range(len(views)))
    assert all(view.choices for view in views[:-1])
    assert all(choice.text != UNNAMED for view in views for choice in view.choices)
    assert views[-1].choices == ()
    at_once = Stepper(load(name), 7)
    assert not at_once.go_on()
    assert at_once.view == views[-1]


@settings(max_examples=25)
@given(text=scenarios(), seed=st.integers(0, 3))
def test_a_generated_scenario_is_the_run_of_simulate(text: str, seed: int) -> None:
    simulation = Simulation(parse(text), seed)
    wanted = simulation.run()
    stepper = Stepper(parse(text), seed)
    while stepper.step():
        assert stepper.view.last is not None
        assert stepper.view.last.choice.text != UNNAMED
    trace = stepper.trace()
    assert list(map(repr, trace.calls())) == list(map(repr, wanted.calls()))
    assert list(trace.captured()) == list(wanted.captured())
    assert list(map(repr, trace.blocked())) == list(map(repr, wanted.blocked()))
    assert stepper.unmet == [str(failure) for failure in simulation.unmet]


@pytest.mark.parametrize("name", [name for name in names() if name != "full-buffers"])
def test_back_is_as_it_was_and_forward_again_too(name: str) -> None:
    stepper = Stepper(load(name))
    views = [stepper.view]
    while stepper.step():
        views.append(stepper.view)
        assert stepper.back()
        assert stepper.view.chosen == taken(views[-1])
        assert same(stepper.view, views[-2])
        assert stepper.step()
        assert stepper.view == views[-1]
    for view in reversed(views[:-1]):
        assert stepper.back()
        assert same(stepper.view, view)
    assert not stepper.back()


def taken(view: View) -> int:
    """The number of the event that happened last."""
    assert view.last is not None
    return view.last.choice.number


def same(view: View, other: View) -> bool:
    """Whether they are alike but for the choice that was taken before one went back."""
    return replace(view, chosen=0) == replace(other, chosen=0)


def test_back_goes_the_way_that_was_taken() -> None:
    stepper = Stepper(load("tcp-echo"))
    other = stepper.view.choices[1]
    assert stepper.step(other.number)
    assert stepper.step()
    end = stepper.view
    stepper.to_start()
    assert stepper.view.steps == 0
    assert stepper.view.chosen == other.number
    for _ in range(2):
        assert stepper.step(stepper.view.chosen)
    assert stepper.view == end


SOURCES = [
    *(load(name) for name in names() if name != "full-buffers"),
    *(load(str(path)) for path in sorted((Path(__file__).parent / "planted").glob("*.txt"))),
]
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "step", "step", "lose", "back", "start", "refusal", "on"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=80)
@given(scenario=st.sampled_from(SOURCES), commands=COMMANDS)
def test_whatever_comes_next_it_goes_on(
    scenario: Scenario, commands: list[tuple[str, int]]
) -> None:
    stepper = Stepper(scenario)
    for command, which in commands:
        choices = stepper.view.choices
        number = choices[which % len(choices)].number if choices else None
        if command == "step":
            before = stepper.view
            assert stepper.step(number) == (number is not None)
            if number is not None:
                after = stepper.view
                assert after.steps == before.steps + 1
                assert after.time >= before.time
                stepper.back()
                assert same(stepper.view, before)
                assert stepper.step(number)
                assert stepper.view == after
        elif command == "lose":
            stepper.step(number, lose=True)
        elif command == "back":
            stepper.back()
        elif command == "start":
            stepper.to_start()
        else:
            stepper.go_on(to_refusal=command == "refusal", most=10)
        view = stepper.view
        assert view.over == (not view.choices)
        assert view.over or view.chosen in [choice.number for choice in view.choices]
    assert stepper.trace().processes
    stepper.go_on()
    assert stepper.view.over


def test_a_refusal_is_told_with_its_reason() -> None:
    stepper = Stepper(load("tcp-echo"))
    stepper.go_on(to_refusal=True)
    last = stepper.view.last
    assert last is not None
    assert (last.outcome, last.state, last.refused, last.illegal) == (
        "ENOTCONN", "CREATED", True, True,
    )  # fmt: skip
    assert last.choice.who == "client"
    assert last.choice.text == "c.recv ! ENOTCONN"
    assert last.why == "There is no connection to receive from."
    assert last.source == "recv(2)"
    assert last.meant == "connect() first."
    assert not stepper.go_on(to_refusal=True)
    assert stepper.over


def test_a_refusal_by_the_world_is_not_illegal() -> None:
    stepper = Stepper(load("refused"))
    stepper.go_on(to_refusal=True)
    last = stepper.view.last
    assert last is not None
    assert (last.outcome, last.refused, last.illegal) == ("ECONNREFUSED", True, False)
    assert last.why


def test_what_is_not_as_expected_is_told() -> None:
    stepper = Stepper(parse("a:\n    s = socket tcp\n    s.recv\n"))
    stepper.go_on(to_refusal=True)
    last = stepper.view.last
    assert last is not None
    assert last.unmet == ("s.recv gave ENOTCONN",)
    assert stepper.unmet == ["scenario:3: s.recv gave ENOTCONN"]


def test_the_packets_in_flight_and_the_states_of_tcp() -> None:
    stepper = stepped("half-close", "c.connect")
    view = stepper.view
    assert [(one.flags, one.seq, one.due) for one in view.packets] == [("S", 0, view.time + 1000)]
    assert sock(view, "client.c").tcp == "SYN-SENT"
    assert view.actors[1].doing == BLOCKED
    assert view.actors[1].awaits == "the answer to its SYN"
    stepper.step()
    view = stepper.view
    assert view.last is not None
    assert [(one.label, one.before, one.after) for one in view.last.changes] == [
        ("listener queue", "LISTEN", "SYN-RECEIVED")
    ]
    assert view.last.changes[0].source == "RFC 9293, figure 5"
    assert [(one.flags, one.seq, one.ack) for one in view.last.sent] == [("SA", 0, 1)]
    assert sock(view, "listener queue").tcp == "SYN-RECEIVED"


def test_a_packet_that_the_network_loses_is_told() -> None:
    view = stepped("lost-syn", "c.connect").view
    assert view.packets == ()
    assert view.last is not None
    assert [(one.flags, one.due) for one in view.last.sent] == [("S", None)]
    assert [(one.kind, one.who) for one in view.choices] == [(TIMER, "client.c")]


def test_a_packet_may_be_lost_by_hand() -> None:
    stepper = stepped("tcp-echo", "c.connect")
    (packet,) = [one for one in stepper.view.choices if one.kind == PACKET]
    timer = next(one for one in stepper.view.choices if one.kind == TIMER)
    assert not stepper.step(timer.number, lose=True)
    assert stepper.step(packet.number, lose=True)
    view = stepper.view
    assert view.packets == ()
    assert view.last is not None
    assert view.last.lost
    stepper.go_on()
    assert stepper.unmet == []
    flags = [one.flags for one in stepper.trace().captured()]
    assert flags[:3] == ["S", "S", "SA"]


def test_a_timer_is_not_late_and_packets_do_not_overtake() -> None:
    stepper = Stepper(load("backlog"))
    while stepper.step():
        view = stepper.view
        timers = [one.due for one in view.choices if one.kind == TIMER]
        assert all(one.due <= min(timers) for one in view.choices if timers)
        ways = [(one.packet.source, one.packet.target) for one in view.choices if one.packet]
        assert len(set(ways)) == len(ways)


def test_who_is_late_is_overtaken() -> None:
    stepper = stepped("tcp-echo", "c.connect")
    late = stepper.view.choices[0]
    other = stepper.view.choices[-1]
    assert other.due > late.due
    assert stepper.step(other.number)
    assert stepper.view.time == other.due
    assert late in stepper.view.choices


def test_who_is_blocked_for_ever() -> None:
    stepper = Stepper(load("both-receive"))
    stepper.go_on()
    view = stepper.view
    assert [(one.doing, one.awaits) for one in view.actors] == [
        (STUCK, "data or the end from client.c"),
        (STUCK, "data or the end from server.conn"),
    ]
    assert sock(view, "server.conn").blocked == ("server",)
    assert all(text.startswith("as expected: ") for text in view.ending)
    assert stepper.unmet == []


def test_buffers_fill() -> None:
    stepper = Stepper(load("full-buffers"))
    stepper.go_on()
    one = sock(stepper.view, "client.c")
    assert one.full == (True, True)
    assert one.received is not None
    assert one.received > 60_000
    assert stepper.view.actors[1].awaits == "room: server.conn must read"


def test_marks_names_and_the_end() -> None:
    stepper = Stepper(load("unix-stream"))
    view = stepper.view
    assert {one.kind for one in view.choices} == {CALL}
    seen = set()
    while stepper.step():
        for actor in stepper.view.actors:
            seen.add(actor.awaits)
    assert any(text.startswith("server to mark ") for text in seen)
    assert all(one.doing == ENDED for one in stepper.view.actors)


def test_comments_are_apart_and_a_sign_in_a_text_is_none() -> None:
    text = 'a:\n    s = socket udp   # why\n    s.sendto 7000 "#1"  # two\n'
    lines = Stepper(parse(text)).view.actors[0].lines
    assert [(one.text, one.comment) for one in lines] == [
        ("s = socket udp", "why"),
        ('s.sendto 7000 "#1"', "two"),
    ]


def test_a_scenario_of_objects_has_lines_too() -> None:
    steps = [Step("socket", "s", word="create", kind="udp"), Step("close", "s", word="close")]
    stepper = Stepper(Scenario([Actor("a", steps)]))
    assert [one.text for one in stepper.view.actors[0].lines] == ["s.socket", "s.close"]
    stepper.go_on()
    assert stepper.view.actors[0].doing == ENDED


def test_a_run_left_in_the_middle_is_a_trace(tmp_path: Path) -> None:
    stepper = stepped("tcp-echo", "listener.accept")
    trace = Trace.open(str(save(stepper.trace(), tmp_path / "trace")))
    assert [call.method for call in trace.calls()] == ["socket", "bind", "listen"]
    assert [wait.method for wait in trace.blocked()] == ["accept"]
    assert len(list(stepper.trace().blocked())) == 1


def test_each_timer_has_a_name() -> None:
    """Those that the shipped scenarios do not come to."""
    text = """
server:
    s = socket tcp
    s.bind 7000
    s.listen
    mark listening
    s.accept -> conn
    conn.set keepalive 1
    conn.recv blocks
    conn.recv
    conn.set linger 5
    conn.close

client:
    after listening
    c = socket tcp
    c.connect 7000
    wait 3s
    c.send "x"
"""
    stepper = Stepper(parse(text))
    seen = set()
    while stepper.step():
        seen |= {choice.text for choice in stepper.view.choices if choice.kind == TIMER}
    assert "keep-alive asks" in seen
    assert UNNAMED not in seen


LINGERS = """
network latency 10ms, drop fin 1
server at 10.0.0.1:
    s = socket tcp
    s.bind 10.0.0.1:7000
    s.listen
    mark listening
    s.accept -> conn
    conn.set linger 5
    conn.close
    s.close

client at 10.0.0.2:
    after listening
    c = socket tcp
    c.connect 10.0.0.1:7000
    c.recv = end
"""


@pytest.mark.parametrize("lost", [False, True])
def test_a_close_that_lingers_waits(lost: bool) -> None:
    stepper = Stepper(parse(LINGERS))
    seen, ended = set(), []
    while not stepper.over:
        seen.add(stepper.view.actors[0].awaits)
        packets = [one for one in stepper.view.choices if one.packet and "F" in one.packet.flags]
        if lost and packets:
            assert stepper.step(packets[0].number, lose=True)
        else:
            assert stepper.step()
        last = stepper.view.last
        assert last is not None
        if last.choice.text.endswith("conn.close") and last.outcome:
            ended.append((last.choice.kind, last.outcome))
    assert "the ACK of its FIN" in seen
    assert ended == [(TIMER if lost else RETURN, "ok")]


def test_no_run_is_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockfsm.sim.run.MOST_EVENTS", 12)
    simulation = Simulation(load("tcp-echo"))
    simulation.run()
    stepper = Stepper(load("tcp-echo"))
    stepper.go_on()
    assert stepper.unmet == [str(failure) for failure in simulation.unmet]
    assert "after 12 events" in stepper.unmet[0]
    assert STUCK not in {actor.doing for actor in stepper.view.actors}
    assert stepper.view.over


def test_going_on_comes_back_to_look_at_the_keyboard() -> None:
    stepper = Stepper(load("tcp-echo"))
    assert stepper.go_on(most=5)
    assert stepper.view.steps == 5
    assert not stepper.go_on(most=1000)
