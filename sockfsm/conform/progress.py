"""The file in which `sockfsm conform` keeps its progress: what a line of it may say."""

from __future__ import annotations

from msgspec import Struct

from sockfsm.conform.compare import Disagreement, Share
from sockfsm.schema import Natural, read


class Scope(Struct, frozen=True):
    """For which kernel and machines the lines hold."""

    kernel: str
    machines: str


class _Entry(Struct, frozen=True):
    suite: str
    depth: Natural
    prefix: tuple[str, ...]
    figures: tuple[Natural, Natural, Natural]
    disagreements: list[tuple[tuple[str, ...], str, str, str, str]]


def head(line: bytes) -> Scope:
    """The first line. ValueError when it is none."""
    return read(line, Scope)


def share(line: bytes) -> tuple[tuple[str, int, tuple[str, ...]], Share]:
    """((suite, depth, prefix), what was found). ValueError when the line does not say that."""
    entry = read(line, _Entry)
    found = Share(*entry.figures)
    for disagreement in entry.disagreements:
        found.add(Disagreement(*disagreement))
    return (entry.suite, entry.depth, entry.prefix), found
