"""Each trap's three lines do on this kernel what the page says, and the model predicts it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import warnings
from pathlib import Path

import pytest

from sockfsm.model.kinds import KINDS
from sockfsm.model.traps import TRAPS, Trap


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: f"{trap.kind}: {trap.title}")
def test_three_lines_show_it(trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {
        "socket": socket, "errno": errno, "contextlib": contextlib, "os": os,
    }  # fmt: skip
    # The lines leave their sockets to the garbage collector, as one does at the prompt.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            for line in trap.code[:-1]:
                exec(line, scope)
            *statements, last = trap.code[-1].split("; ")
            for statement in statements:
                exec(statement, scope)
            got = repr(eval(last, scope))
        except OSError as error:
            got = errno.errorcode[error.errno] if error.errno else type(error).__name__
        scope.clear()
        gc.collect()
    assert got == trap.ends


def test_every_kind_has_traps() -> None:
    assert {trap.kind for trap in TRAPS} == set(KINDS)
