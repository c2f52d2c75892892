"""The virtual kernel against the running one: the same scenarios, and generated ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockfsm.cli.compare import OWN_CALLS, TURN, calls, whole
from sockfsm.cli.main import main
from sockfsm.model.kinds import KINDS
from sockfsm.sim import run
from sockfsm.sim.scenario import parse
from sockfsm.sim.shipped import load, names


@pytest.mark.parametrize("name", names())
def test_a_shipped_scenario_is_alike(name: str) -> None:
    found = list(whole(load(name)))
    assert [str(difference) for difference in found if not difference.why] == []


def test_the_command_tells_what_it_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "refused"]) == 0
    assert "simulated and played alike" in capsys.readouterr().out


def test_a_scenario_is_played_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", "lost-syn", "-o", str(tmp_path / "trace")]) == 0
    assert "retransmission" in capsys.readouterr().out
    assert main(["handshake", str(tmp_path / "trace")]) == 0
    file = tmp_path / "mine.txt"
    file.write_text("a:\n    s = socket tcp\n    s.listen ! EINVAL\n    s.accept\n")
    assert main(["play", str(file)]) == 1
    told = capsys.readouterr().err
    assert f"{file}:3: s.listen was to give EINVAL, and gave ok" in told
    assert f"{file}:4: a stayed blocked" in told


def test_what_cannot_be_played_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("network latency 1ms\na:\n    s = socket tcp\nb:\n    s = socket tcp\n")
    assert main(["play", str(file)]) == 2
    assert "can only be simulated" in capsys.readouterr().err


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = run.Simulation._finish

    def wrong(self: run.Simulation, player, sock, request, answer) -> None:  # type: ignore[no-untyped-def]
        if request.word == "listen":
            answer.outcome, answer.after = "EINVAL", "BOUND"
        known(self, player, sock, request, answer)

    monkeypatch.setattr(run.Simulation, "_finish", wrong)
    found = "\n".join(map(str, calls(load("half-close"))))
    assert "half-close.txt:5: simulated EINVAL, real ok" in found
    assert "listen = EINVAL, then BOUND, real listen = ok, then LISTENING" in found


def strict(text: str) -> list[str]:
    """Every difference of a scenario whose order is fixed; a tracer's doubts are none."""
    return [str(d) for d in calls(parse(text)) if d.why not in (OWN_CALLS, TURN)]


WORD_CALLS = (
    "bind",
    "listen",
    "connect",
    "accept",
    "send",
    "recv",
    "shutdown",
    "so_error",
    "close",
)
WORDS = {
    "bind": ("{own}",),
    "connect": ("{other}",),
    "send": ('"abc"',),
    "recv": ("", "1"),
    "listen": ("1",),
    "shutdown": ("rd", "wr", "both"),
}


@st.composite
def scenarios(draw: st.DrawFn, words: tuple[str, ...] = WORD_CALLS) -> str:
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
                st.tuples(st.integers(0, 1), st.sampled_from(words), st.integers(0, 2)),
                min_size=2, max_size=10,
            )
        ), 1,
    ):  # fmt: skip
        if who != turn:
            lines[turn].append(f"mark {last}x")
            lines[who].append(f"after {last}x")
            turn = who
        last = f"m{number}"
        more = WORDS.get(call, ("",))
        word = more[pick % len(more)].format(own=names[who], other=names[1 - who])
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
    assert strict(text) == [], text


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
    assert strict(text) == []
