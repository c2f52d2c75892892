"""The compiled machines as the package ships them, so that no process has to compile its own.

Compiling takes a tenth of a second, reading the file a millisecond. `python -m sockfsm.model` (`make
machines`) makes the file, and a test checks that it fits the rules. It is trusted like the code beside
it: nothing is read from, or left in, a user's folder.

A line has the kind, the table of `Compiled`, the state, and as JSON the table's entry for the state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sockfsm.model.compiled import TABLES, Compiled

FILE = os.path.join(os.path.dirname(__file__), "machines.tsv")

# The program may replace what `json` has.
_decode = json.JSONDecoder().decode


class _Table(Mapping[str, Any]):
    """state -> its entry. Each is decoded when first needed, because a program meets few states."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, state: str) -> Any:
        found = self._decoded.get(state)
        if found is None:
            found = self._decoded[state] = _decode(self.lines[state])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


@cache
def _machines() -> dict[str, dict[str, _Table]]:
    machines: dict[str, dict[str, _Table]] = {}
    with open(FILE, encoding="ascii") as file:
        for line in file:
            kind, table, state, said = line.split("\t", 3)
            tables = machines.setdefault(kind, {name: _Table() for name in TABLES})
            tables[table].lines[state] = said
    return machines


def shipped(kind: str) -> Compiled:
    """The compiled machine of a kind, shared by all its sockets. KeyError if it has none."""
    return Compiled(kind, **_machines()[kind])


def text(machines: Mapping[str, Compiled]) -> str:
    """The content of the file."""
    return "".join(
        f"{kind}\t{name}\t{state}\t{json.dumps(row, separators=(',', ':'))}\n"
        for kind, compiled in machines.items()
        for name, table in compiled.tables().items()
        for state, row in table.items()
    )
