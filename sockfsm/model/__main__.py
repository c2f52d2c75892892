"""`python -m sockfsm.model`: compile the machines anew into the file that the package ships."""

from __future__ import annotations

from pathlib import Path

from sockfsm.model.compiled import Compiled
from sockfsm.model.executed import build
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.shipped import FILE, text


def compiled() -> dict[str, Compiled]:
    """Every kind's machine, compiled from its rules."""
    return {kind: Compiled.of(build(flat_of(kind))) for kind in KINDS}


if __name__ == "__main__":
    Path(FILE).write_text(text(compiled()), encoding="ascii")
