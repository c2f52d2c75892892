"""The format of the file in which `sockfsm conform` keeps its progress."""

from __future__ import annotations

from msgspec import Struct

from sockfsm.conform.compare import Disagreement, Share
from sockfsm.schema import Natural, read


class Scope(Struct, frozen=True):
    """The kernel and the machines that the lines are about."""

    kernel: str
    machines: str


class _Entry(Struct, frozen=True):
    suite: str
    depth: Natural
    prefix: tuple[str, ...]
    figures: tuple[Natural, Natural, Natural]
    disagreements: list[tuple[tuple[str, ...], str, str, str, str]]


def head(line: bytes) -> Scope:
    """Parse the first line. ValueError if it is something else."""
    return read(line, Scope)


def share(line: bytes) -> tuple[tuple[str, int, tuple[str, ...]], Share]:
    """Parse a further line: ((suite, depth, prefix), what was found). ValueError if it is none."""
    entry = read(line, _Entry)
    found = Share(*entry.figures)
    for disagreement in entry.disagreements:
        found.add(Disagreement(*disagreement))
    return (entry.suite, entry.depth, entry.prefix), found
