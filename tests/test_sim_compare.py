"""The virtual kernel against the running one: the same scenarios, and generated ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from generated import scenarios
from hypothesis import HealthCheck, given, settings

from sockfsm.cli.compare import ONE_PROCESS, OWN_CALLS, TURN, calls, whole
from sockfsm.cli.main import main
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


def test_a_network_is_given_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("simulate", "compare"):
        assert main([command, "lost-syn", "--network", "latency 10ms, drop syn 1"]) == 0
    assert main(["simulate", "lost-syn", "--network", "latency 10ms"]) == 1
    assert "was to block 1020ms, and did 20" in capsys.readouterr().err
    assert main(["simulate", "lost-syn", "--network", "latency soon"]) == 2
    assert "--network:1:17: a span" in capsys.readouterr().err


def test_what_cannot_be_played_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.txt"
    within = "network latency 1ms\na:\n    s = socket tcp\nb:\n    s = socket tcp\n"
    over_six = "a at [fd00::1]:\n    s = socket tcp\nb at [fd00::2]:\n    s = socket tcp\n"
    for text in (within, over_six):
        file.write_text(text)
        for command in ("play", "compare"):
            assert main([command, str(file)]) == 2
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
    return [str(d) for d in calls(parse(text)) if d.why not in (OWN_CALLS, ONE_PROCESS, TURN)]


SCENARIOS = int(os.environ.get("SOCKFSM_SCENARIOS", "50"))
"""How many are generated; `make proof` takes 2,000."""


@settings(
    max_examples=SCENARIOS, deadline=None, derandomize=True, database=None,
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
    # A port that TCP took back is free; one that somebody else holds is not.
    """
a:
    a = socket tcp
    a.timeout 0
    after bound
    a.connect 7002 ! EINPROGRESS
    a.bind 7002 ! EADDRINUSE
    mark done
b:
    b = socket tcp
    b.bind 7002
    mark bound
    after done
""",
    # Who is connected to somebody else takes nothing from others.
    """
a:
    a = socket unix-dgram
    after connected
    a.connect two.sock ! EPERM
    mark done
b:
    b = socket unix-dgram
    b.bind two.sock
    b.connect two.sock
    mark connected
    after done
""",
    # One of two descriptors is closed: the socket lives on.
    """
a:
    a = socket udp
    a.bind 7001
    d = dup a
    a.close
    a.recv ! EBADF
    d.connect 7001
    d.send "x"
    d.recv = "x"
""",
    # Python does not wait for data that are there, even where accept() is refused.
    """
a:
    a = socket unix-dgram
    a.bind one.sock
    a.connect one.sock
    a.send "x"
    a.timeout 20ms
    a.accept ! EOPNOTSUPP
""",
    # A tracer takes data that a socket sends itself for sent to somebody else.
    """
a:
    a = socket tcp
    a.timeout 20ms
    a.bind 7002
    a.connect 7002
    a.sendall "abc"
    a.send "def"
""",
    """
a:
    a = socket unix-stream
    a.sendto one.sock "x" ! EOPNOTSUPP
    a.recv 0 = end
""",
)


@pytest.mark.parametrize("text", FOUND)
def test_what_generated_scenarios_found(text: str) -> None:
    simulation = run.Simulation(parse(text))
    simulation.run()
    assert simulation.failures == []
    assert strict(text) == []
