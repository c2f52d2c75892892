"""The machines beside the running kernel, to depth 4, and the machinery that compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sockfsm.cli.main import main
from sockfsm.conform import compare as comparing
from sockfsm.conform.compare import Disagreement, Share, compare, prefixes, sequences
from sockfsm.conform.runner import run
from sockfsm.conform.suites import REFERENCE, SUITES, WORDS, Suite, suites
from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.model.predict import Predictor


@pytest.mark.parametrize("kind", KINDS)
def test_every_sequence_of_four_calls_agrees_with_the_kernel(kind: str) -> None:
    results = run(suites(kind, (REFERENCE,)), 4)
    share = results[f"{kind}: {REFERENCE}"]
    assert share.sequences == len(WORDS) ** 4
    assert share.outcomes == 4 * share.sequences
    assert share.facts > share.sequences
    assert share.disagreements == []


@pytest.mark.parametrize(
    "suite", [s for s in suites() if s.name != REFERENCE], ids=lambda s: s.title
)
def test_other_environments_agree_with_the_kernel(suite: Suite) -> None:
    share = compare(suite.title, 2 if "deadline" in suite.name else 3, (), 1)
    assert share.sequences >= len(suite.words) ** 2
    assert share.disagreements == []


def test_a_wrong_model_is_found_by_its_shortest_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that cannot fail proves nothing."""
    right = Predictor.step

    def wrong(self: Predictor, node: object, call: str) -> object:
        outcome, after, entry = right(self, node, call)  # type: ignore[arg-type]
        if call == "listen" and node.name == "CREATED":  # type: ignore[attr-defined]
            return "EDESTADDRREQ", after, entry
        return outcome, after, entry

    monkeypatch.setattr(Predictor, "step", wrong)
    share = compare("tcp: reference", 3, ("bind",), 2)
    assert share.disagreements == []
    share = compare("tcp: reference", 2, (), 2)
    assert share.disagreements == [
        Disagreement(("listen",), "CREATED", "listen", "EDESTADDRREQ", "ok")
    ]


def test_a_wrong_state_is_seen_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "expected", lambda *_: {"listening": frozenset({True})})
    share = compare("unix-stream: reference", 1, ("bind",), 2)
    assert share.disagreements == [Disagreement(("bind",), "BOUND", "listening", "True", "False")]


def test_shares_make_up_the_whole() -> None:
    suite = SUITES["udp: reference"]
    whole = list(sequences(suite, 3, ()))
    parts = [s for prefix in prefixes(suite, 3) for s in sequences(suite, 3, prefix)]
    assert whole == parts
    assert len(set(whole)) == 11**3


def test_shares_keep_the_shortest() -> None:
    share, other = Share(), Share(1, 2, 3)
    share.add(Disagreement(("a", "b"), "S", "b", "ok", "EINVAL"))
    other.add(Disagreement(("b",), "S", "b", "ok", "EINVAL"))
    share.join(other)
    assert (share.sequences, share.outcomes, share.facts) == (1, 2, 3)
    assert [d.calls for d in share.disagreements] == [("b",)]


def test_a_run_is_taken_up_again(tmp_path: Path) -> None:
    kept = tmp_path / "progress"
    heard: list[tuple[int, int, str]] = []
    chosen = suites("udp", (REFERENCE,))
    first = run(chosen, 2, jobs=1, memory=str(kept))
    whole = kept.read_text()
    # Killed in the middle of the last line: that share is run again, the others are not.
    kept.write_text(whole[:-5])
    again = run(chosen, 2, jobs=1, memory=str(kept), progress=lambda *step: heard.append(step))
    assert heard == [(1, 1, "udp: reference")]
    assert again == first
    assert sorted(kept.read_text().splitlines()) == sorted(whole.splitlines())


def test_progress_of_another_kernel_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "progress"
    kept.write_text('{"kernel": "2.4", "machines": "x"}\n')
    with pytest.raises(UsageError, match="another kernel"):
        run([], 1, memory=str(kept))
    kept.write_text("hello\n")
    with pytest.raises(UsageError, match="no progress file"):
        run([], 1, memory=str(kept))
    with pytest.raises(UsageError, match="cannot keep progress"):
        run([], 1, memory=str(tmp_path / "none" / "such"))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "unix-dgram", "--depth", "1", "--jobs", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["suites"]["unix-dgram: reference"]["sequences"] == 11
    assert main(["conform", "udp", "--depth", "1", "--jobs", "1"]) == 0
    assert "udp          reference" in capsys.readouterr().out
    assert main(["conform", "udp", "--random", "5", "--enforce", "--jobs", "1"]) == 0
    assert "5 random sequences, seed 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["sctp"],
        ["tcp", "--depth", "0"],
        ["tcp", "--suite", "none"],
        ["tcp", "--jobs", "-1"],
        ["tcp", "--enforce"],
        ["tcp", "--with", "tls"],
        ["udp", "--random", "5", "--with", "tls"],
        ["tcp", "--shown", "--all"],
        ["tcp", "--random", "5", "--all"],
    ],
)
def test_the_command_refuses_bad_input(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conform", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_kernel_that_refuses_sockets_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("sockfsm.conform.bench.socket.socket", refuse)
    with pytest.raises(UsageError, match="Too many open files"):
        compare("tcp: reference", 1, (), 1)
