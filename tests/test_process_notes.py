"""What a log says of its process."""

from __future__ import annotations

import sys

import pytest

import sockfsm


def told(monkeypatch: pytest.MonkeyPatch, *command: str) -> list[str]:
    monkeypatch.setattr(sys, "orig_argv", list(command))
    with sockfsm.tracing() as trace:
        pass
    (process,) = trace.processes
    return list(process.command)


def test_the_command_is_the_whole_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, "python", "-W", "error", "x.py") == [
        sys.executable,
        *("-W", "error", "x.py"),
    ]


def test_a_long_command_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    left = 16_000 - len(sys.executable)
    fits = ["x" * (left - 1)]
    assert told(monkeypatch, "python", *fits) == [sys.executable, *fits]
    cut = ["x" * left, "..."]
    assert told(monkeypatch, "python", "x" * left) == [sys.executable, *cut]
    assert told(monkeypatch, "python", "x" * 20_000, "y") == [sys.executable, *cut]
