"""Hostile surroundings: the same comes of a socket's life in them plain and traced."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from differ import PROGRAMS, differences, program, told

sys.path.append(str(PROGRAMS))
import surroundings


@pytest.mark.parametrize("name", surroundings.NAMES)
def test_surroundings(name: str, tmp_path: Path) -> None:
    if name in surroundings.AS_ROOT and os.geteuid():
        pytest.skip("needs root")
    library = surroundings.INSTALLED.get(name)
    if library and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: make dropin has it")
    # Who becomes nobody still has to reach the log's folder, as a program's user would.
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    found = differences(program("surroundings", name), tmp_path / "trace")
    assert not found, told(found)
