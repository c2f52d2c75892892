"""What no sequence comes to by itself, shown on the running kernel; root has a network for each."""

from __future__ import annotations

import json
import os

import pytest

from sockfsm.cli.main import main
from sockfsm.conform import shown
from sockfsm.conform.bench import TcpBench, UdpBench
from sockfsm.conform.showing import Showing
from sockfsm.conform.showings import SHOWINGS
from sockfsm.conform.shown import rules_of, show, show_all
from sockfsm.conform.traced import Tracer
from sockfsm.conform.watch import Watch
from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS

_OPEN_TO_ALL = [title for title, showing in SHOWINGS.items() if not showing.alone]
_ALONE = [title for title, showing in SHOWINGS.items() if showing.alone]


def test_each_outcome_has_a_rule() -> None:
    for showing in SHOWINGS.values():
        assert len(rules_of(showing)) == len(list(showing.steps))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_shows_what_the_rules_and_the_tracer_say(kind: str) -> None:
    assert show_all((t for t in _OPEN_TO_ALL if t.startswith(f"{kind}:")), traced=True) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a network for each takes root: CI runs it so")
@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_their_own(kind: str) -> None:
    assert show_all((t for t in _ALONE if t.startswith(f"{kind}:")), traced=True) == []


def test_without_root_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(UsageError, match="needs root"):
        show(_ALONE[0])


def test_a_tracer_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Showing("udp", "fine", UdpBench, "bind ok")
    monkeypatch.setitem(SHOWINGS, fine.title, fine)
    assert show(fine.title, traced=True) == []
    monkeypatch.setattr(Tracer, "states", lambda *_: "CREATED")
    assert show(fine.title, traced=True) == [
        "udp: fine: bind: BOUND, while the tracer says CREATED"
    ]


def test_the_command_tells_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "unix-dgram", "--shown", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (told,) = report["coverage"]
    assert told["rules"] == told["suites"] + told["shown"] + len(told["unproved"])
    assert report["showings"] == len([s for s in SHOWINGS.values() if s.kind == "unix-dgram"])
    assert main(["conform", "unix-dgram", "--shown"]) == 0
    assert "by neither" in capsys.readouterr().out


def test_a_kernel_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Showing("tcp", "wrong", TcpBench, "bind ok; listen EADDRINUSE ports=none")
    monkeypatch.setitem(SHOWINGS, wrong.title, wrong)
    assert show(wrong.title) == ["tcp: wrong: listen gave ok, not EADDRINUSE"]


def test_an_outcome_without_a_rule_is_found() -> None:
    with pytest.raises(LookupError, match="no rules for bind ELOOP"):
        rules_of(Showing("tcp", "wrong", TcpBench, "bind ELOOP"))


def test_what_cannot_be_explained_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Watch):
        def step(self, call: str, outcome: str, variant: str) -> str:
            return "unexplained"

    monkeypatch.setattr(shown, "Watch", Deaf)
    fine = Showing("tcp", "fine", TcpBench, "bind ok")
    monkeypatch.setitem(SHOWINGS, fine.title, fine)
    assert show(fine.title) == ["tcp: fine: bind: unexplained"]
