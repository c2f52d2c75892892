"""Whatever a program passes to a socket's methods: it gets the same result plain and traced."""

from __future__ import annotations

from pathlib import Path

import pytest
from differ import differences, program, told

CHOSEN = {
    "tcp": ("blocking", "timeout", "nonblocking"),
    "udp": ("blocking", "timeout"),
    "unix-stream": ("blocking", "nonblocking"),
    "unix-dgram": ("timeout",),
}
"""Each kind in some modes, with a few values; `make dropin` has every kind, mode and value."""
EVERY = ("tcp", "blocking")
"""Here all values are tried."""


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in CHOSEN.items() for mode in modes]
)
def test_methods(kind: str, mode: str, tmp_path: Path) -> None:
    amount = "every" if (kind, mode) == EVERY else "few"
    command = program("arguments", kind, mode, "socket", amount)
    found = differences(command, tmp_path / "trace")
    assert not found, told(found)


@pytest.mark.parametrize("cls", ["Logged", "Override"])
def test_methods_of_subclasses(cls: str, tmp_path: Path) -> None:
    found = differences(program("arguments", "tcp", "blocking", cls, "few"), tmp_path / "trace")
    assert not found, told(found)


def test_functions(tmp_path: Path) -> None:
    found = differences(program("functions"), tmp_path / "trace")
    assert not found, told(found)


def test_a_difference_is_found(tmp_path: Path) -> None:
    """The harness itself: a program that can tell fails."""
    (tmp_path / "program.py").write_text("import sys; print('tell ->', 'sockfsm' in sys.modules)")
    (found,) = differences(program(str(tmp_path / "program")), tmp_path / "trace")
    assert (found.case, found.plain, found.traced) == ("tell", "False", "True")
