"""What a program sees of its own process is the same plain and traced, but for a short list."""

from __future__ import annotations

from pathlib import Path

from differ import differences, program, told
from known import unexplained


def test_what_a_program_sees(tmp_path: Path) -> None:
    found = unexplained(differences(program("seen"), tmp_path / "trace"))
    assert not found, told(found)
