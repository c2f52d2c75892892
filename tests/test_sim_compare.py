"""The virtual kernel against the running one: the same scenarios, and generated ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockfsm.cli.compare import differences
from sockfsm.cli.main import main
from sockfsm.model.kinds import KINDS
from sockfsm.sim import run
from sockfsm.sim.network import Rules
from sockfsm.sim.scenario import parse
from sockfsm.sim.shipped import load, names

PLAYABLE = [name for name in names() if load(name).network == Rules()]


@pytest.mark.parametrize("name", PLAYABLE)
def test_a_shipped_scenario_is_alike(name: str) -> None:
    assert list(differences(load(name))) == []


def test_most_can_be_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(PLAYABLE) >= 10
    assert main(["compare", "lost-syn"]) == 2
    assert "a network of its own" in capsys.readouterr().err
    assert main(["compare", "refused"]) == 0


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = run.Simulation._finish

    def wrong(self: run.Simulation, player, sock, request, answer) -> None:  # type: ignore[no-untyped-def]
        if request.word == "listen":
            answer.outcome, answer.after = "EINVAL", "BOUND"
        known(self, player, sock, request, answer)

    monkeypatch.setattr(run.Simulation, "_finish", wrong)
    found = "\n".join(differences(load("half-close")))
    assert "simulated ('EINVAL', None), real ('ok', None)" in found
    assert "listen = EINVAL, then BOUND, real listen = ok, then LISTENING" in found


CALLS = ("bind", "listen", "connect", "accept", "send", "recv", "shutdown", "so_error", "close")
WORDS = {
    "bind": ("{own}",),
    "connect": ("{other}",),
    "send": ('"abc"',),
    "recv": ("", "1"),
    "listen": ("1",),
    "shutdown": ("rd", "wr", "both"),
}


@st.composite
def scenarios(draw: st.DrawFn, calls: tuple[str, ...] = CALLS) -> str:
    """Two actors with non-blocking sockets of one kind, who take turns as the marks say."""
    kind = draw(st.sampled_from(KINDS))
    paths = kind.startswith("unix")
    names = ("one.sock", "two.sock") if paths else ("7001", "7002")
    lines: tuple[list[str], list[str]] = ([], [])
    for who, actor in enumerate("ab"):
        lines[who].extend([f"{actor} = socket {kind}", f"{actor}.timeout 0"])
        if draw(st.booleans()):
            lines[who].append(f"{actor}.bind {names[who]}")
    lines[0].extend(["a.listen 1 ?"] if draw(st.booleans()) else [])
    lines[0].append("mark m0")
    lines[1].insert(0, "after m0")
    turn, last = 1, "m0"
    for number, (who, call, pick) in enumerate(
        draw(
            st.lists(
                st.tuples(st.integers(0, 1), st.sampled_from(calls), st.integers(0, 2)),
                min_size=2, max_size=10,
            )
        ), 1,
    ):  # fmt: skip
        if who != turn:
            lines[turn].append(f"mark {last}x")
            lines[who].append(f"after {last}x")
            turn = who
        last = f"m{number}"
        words = WORDS.get(call, ("",))
        word = words[pick % len(words)].format(own=names[who], other=names[1 - who])
        own = "ab"[who]
        if call == "accept":
            lines[who].append(f"{own}.accept -> d{who} ?")
            lines[who].append(f"d{who}.timeout 0")
        elif any(f"-> d{who}" in line for line in lines[who]) and pick:
            lines[who].append(f"d{who}.{call} {word} ?")
        else:
            lines[who].append(f"{own}.{call} {word} ?")
    for who in (0, 1):  # nobody leaves before the other has done
        lines[who].extend([f"mark end{who}", f"after end{1 - who}"])
    return "a:\n    " + "\n    ".join(lines[0]) + "\nb:\n    " + "\n    ".join(lines[1])


@settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(scenarios())
def test_generated_scenarios_are_alike(text: str) -> None:
    assert list(differences(parse(text))) == [], text


FOUND = (
    """
a:
    a = socket unix-stream
    a.bind one.sock
    a.listen
    mark listening
    after connected
    a.accept -> d
    d.send "abc" ! EPIPE
b:
    after listening
    b = socket unix-stream
    b.shutdown both
    b.connect one.sock
    mark connected
    wait 50ms
""",
    """
a:
    a = socket udp
    a.bind 7002
    a.connect 7001
    a.send "abc"
    a.send "abc" ! ECONNREFUSED
    a.send "abc"
    a.close
    a.timeout 0
""",
)


@pytest.mark.parametrize("text", FOUND)
def test_what_generated_scenarios_found(text: str) -> None:
    simulation = run.Simulation(parse(text))
    simulation.run()
    assert simulation.failures == []
    assert list(differences(parse(text))) == []
