"""Learning the kernel's machine, and telling machines apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("aalpy", reason="the extra sockfsm[learn] is not installed")

from sockfsm.cli.main import main
from sockfsm.errors import UsageError
from sockfsm.learn.lstar import learn
from sockfsm.learn.mealy import Difference, Mealy, compare
from sockfsm.model.kinds import KINDS
from sockfsm.model.predict import Predictor

FEW = ("bind", "listen", "accept", "connect", "send", "recv", "shutdown_wr", "close")


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_implements_our_machine(kind: str) -> None:
    learned = learn(kind)
    assert compare(learned, Predictor(kind)).difference is None
    assert learned.size >= 6


def test_the_fresh_socket_shutdown_trap_is_a_state_of_its_own() -> None:
    learned = learn("tcp", calls=FEW)
    names = compare(learned, Predictor("tcp")).names
    assert learned.size == 10
    assert ("CREATED_WRITE_SHUT",) in names.values()
    assert ("CREATED",) in names.values()


def test_a_difference_is_found_by_a_shortest_sequence() -> None:
    learned = learn("udp", calls=("bind", "send"))
    steps = dict(learned.steps)
    bound = steps[0, "bind"][1]
    steps[bound, "bind"] = ("ok", bound)
    wrong = Mealy("udp", learned.calls, steps)
    assert compare(wrong, Predictor("udp")).difference == Difference(
        ("bind", "bind"), "ok", "EINVAL"
    )


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "learned.dot"
    assert main(["learn", "udp", "--calls", "bind send", "-o", str(target)]) == 0
    assert "equivalent" in capsys.readouterr().out
    assert "CREATED" in target.read_text()
    assert main(["learn", "udp", "--calls", "bind", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equivalent"] is True


def test_the_command_refuses_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "sctp"]) == 2
    assert main(["learn", "tcp", "--calls", "hello"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_without_aalpy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aalpy.base", None)
    with pytest.raises(UsageError, match=r"sockfsm\[learn\]"):
        learn("tcp")
