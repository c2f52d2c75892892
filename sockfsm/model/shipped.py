"""The compiled machines as the package ships them, so that no process has to compile its own.

Compiling the rules takes a tenth of a second; reading what came of them takes a millisecond. The
file is made by `python -m sockfsm.model` (`make machines`), and a test checks that it is in step with
the rules. It is trusted as the code beside it is: nothing is read from, or left in, a user's folder.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from sockfsm.model.compiled import Compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = os.path.join(os.path.dirname(__file__), "machines.json")


@cache
def _machines() -> Mapping[str, Any]:
    with open(FILE, encoding="ascii") as file:
        machines: Mapping[str, Any] = json.load(file)
    return machines


def shipped(kind: str) -> Compiled:
    """The shared machine of a kind, compiled. KeyError for a kind that has none."""
    return Compiled(**_machines()[kind])


def text(machines: Mapping[str, Compiled]) -> str:
    """What belongs into the file: a state to a line, so that a change of the rules reads well."""
    kinds = []
    for kind, compiled in machines.items():
        data = compiled.data()
        parts = [f'"kind": {json.dumps(kind)}', f'"initial": {json.dumps(data["initial"])}']
        for name in ("moves", "ways", "refusals", "excused"):
            rows = [
                f"{json.dumps(state)}: {json.dumps(row, separators=(',', ':'))}"
                for state, row in data[name].items()
            ]
            parts.append(f'"{name}": {{\n' + ",\n".join(rows) + "}")
        kinds.append(f"{json.dumps(kind)}: {{" + ",\n".join(parts) + "}")
    return "{" + ",\n".join(kinds) + "}\n"
