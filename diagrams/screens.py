"""Draws `step.svg`, the screen of `sockfsm simulate lost-syn --step`: `make diagrams`.

Versions of textual write a screen differently, so only what stands on it is compared: its hash is in
the picture.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sockfsm.diagrams.stamp import digest, stamp, stamped
from sockfsm.sim.shipped import load
from sockfsm.sim.stepping.stepper import Stepper
from sockfsm.step.app import Stepping
from sockfsm.step.drawing import DARK, panes

NAME = "step.svg"
_SIZE, _STEPS = (100, 30), 12
_FONT = "DejaVu Sans Mono,Menlo,Consolas"


def main(arguments: Sequence[str]) -> int:
    """Write the picture where it has changed, by default into this folder; 2 if it cannot be."""
    path = (Path(arguments[0]) if arguments else Path(__file__).parent) / NAME
    try:
        if not in_step(path):
            path.write_bytes(picture())
            print(f"wrote {path}")
    except OSError as error:
        print(f"sockfsm: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def in_step(path: Path) -> bool:
    """Whether a picture shows what the screen would show now."""
    return path.is_file() and stamped(path.read_bytes()) == digest(_text(_stepper()))


def picture() -> bytes:
    """The screen as SVG, which needs nothing from elsewhere."""
    stepper = _stepper()
    app = Stepping(stepper, "sockfsm simulate lost-syn --step")

    async def taken() -> str:
        async with app.run_test(size=_SIZE) as pilot:
            await pilot.pause()
            return app.export_screenshot(title=app.title)

    drawn = re.sub(r"@font-face \{.*?\}\n", "", asyncio.run(taken()), flags=re.DOTALL)
    drawn = drawn.replace("Fira Code", _FONT).replace("<text ", '<text xml:space="preserve" ')
    lines = (line.rstrip() for line in drawn.splitlines())
    return stamp("\n".join(lines).encode(), "svg", _text(stepper))


def _stepper() -> Stepper:
    stepper = Stepper(load("lost-syn"))
    for _ in range(_STEPS):
        stepper.step()
    return stepper


def _text(stepper: Stepper) -> str:
    shown = panes(stepper.view, _SIZE, 0, DARK)
    return "\n".join(f"{name}\n{text.plain}" for name, text in shown.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
