"""What a program sees of its own process is the same plain and traced, but for a short list."""

from __future__ import annotations

from pathlib import Path

import pytest
from differ import differences, program, told
from known import AWAITED, unexplained


@pytest.mark.xfail(strict=True, reason=AWAITED["seen"], raises=AssertionError)
def test_what_a_program_sees(tmp_path: Path) -> None:
    found = unexplained(differences(program("seen"), tmp_path / "trace"))
    assert not found, told(found)
