"""Runs a program twice: as it is, and under `sockfsm run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

Done = subprocess.CompletedProcess[str]


def run(program: Path, *arguments: str) -> tuple[Done, Done]:
    """(plain, traced). The trace is in `trace`, beside the program, where both run."""
    folder = program.parent
    traced = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", "trace"]
    plain, seen = (
        subprocess.run(
            [*command, program.name, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        for command in ([sys.executable], [*traced, sys.executable])
    )
    return plain, seen
