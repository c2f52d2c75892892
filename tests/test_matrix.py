"""Which Pythons `make matrix` and `make test` choose."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import matrix
import pytest


@pytest.mark.parametrize(
    ("running", "found", "all_others", "ends"),
    [
        (11, (10, 12, 13), [10, 12, 13], [10, 13]),
        (11, (10, 11, 12), [10, 12], [10, 12]),
        (10, (11, 12, 13), [11, 12, 13], [13]),  # the running one is the oldest
        (14, (11, 12), [11, 12], [11]),
        (11, (), [], []),
    ],
)
def test_the_oldest_and_the_newest_are_those_of_all(
    running: int,
    found: tuple[int, ...],
    all_others: list[int],
    ends: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrix, "installed", lambda: {n: f"python3.{n}" for n in found})
    monkeypatch.setattr(matrix, "sys", SimpleNamespace(version_info=SimpleNamespace(minor=running)))
    assert list(matrix.chosen_pythons(False)) == all_others
    assert list(matrix.chosen_pythons(True)) == ends


def test_it_says_when_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "installed", dict)
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--ends"])
    assert matrix.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "no other Python" in line


@pytest.mark.parametrize(("ends", "status"), [("--ends", 0), ("", 1)])
def test_an_environment_that_cannot_be_made(
    ends: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails the matrix, but not `make test`, which says so."""

    def broken(*_: object) -> str:
        raise OSError("no pip")

    other = sys.version_info.minor + 1
    monkeypatch.setattr(matrix, "installed", lambda: {other: "python"})
    monkeypatch.setattr(matrix, "environment", broken)
    monkeypatch.setattr(sys, "argv", ["matrix.py", *filter(None, [ends])])
    assert matrix.main() == status
    out = capsys.readouterr().out
    assert "no pip" in out
    assert "left out: no environment" in out
