"""The diagrams in `diagrams/`: drawn from the machines, and checked to be in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sockfsm.diagrams.graph import Graph
from sockfsm.diagrams.lifecycle import lifecycle
from sockfsm.diagrams.render import draw
from sockfsm.diagrams.server import server
from sockfsm.diagrams.stamp import digest, stamped
from sockfsm.diagrams.tcp_states import tcp_states
from sockfsm.model.kinds import KINDS, flat_of

# Texts are compared as they are. Pictures differ between versions of Graphviz, so only the stamp in
# them is compared: the hash of the DOT that they were drawn from.
TEXTS = ("dot", "mmd")
PICTURES = ("svg", "png")
SCREENS = {"step.svg"}
"""Drawn from no machine: `diagrams/screens.py` makes them."""


class Committed(NamedTuple):
    """One diagram of the folder: the stem of its files, their formats, and what makes its graph."""

    name: str
    formats: tuple[str, ...]
    graph: Callable[[], Graph]


def committed() -> Iterator[Committed]:
    """Yield every diagram that belongs in `diagrams/`."""
    yield Committed("server", (*TEXTS, *PICTURES), server)
    yield Committed("tcp-states", (*TEXTS, "svg"), tcp_states)
    for kind in KINDS:
        yield Committed(kind, (*TEXTS, "svg"), partial(_lifecycle, kind))
        yield Committed(f"{kind}-refusals", ("svg",), partial(_lifecycle, kind, refusals=True))


def _lifecycle(kind: str, *, refusals: bool = False) -> Graph:
    return lifecycle(flat_of(kind), refusals=refusals)


def regenerate(folder: Path) -> list[Path]:
    """Draw what is out of step in `folder`; returns the files written.

    DrawingError if nothing here can draw.
    """
    written = []
    for diagram in committed():
        graph = diagram.graph()
        dot = draw(graph, "dot")
        for form in diagram.formats:
            path = folder / f"{diagram.name}.{form}"
            if _in_step(path, form, graph, dot):
                continue
            path.write_bytes(draw(graph, form))
            written.append(path)
    return written


def out_of_step(folder: Path) -> list[str]:
    """The names of files in `folder` that are missing, out of date, or belong to no diagram."""
    wrong, expected = [], set()
    for diagram in committed():
        graph = diagram.graph()
        dot = draw(graph, "dot")
        for form in diagram.formats:
            path = folder / f"{diagram.name}.{form}"
            expected.add(path.name)
            if not _in_step(path, form, graph, dot):
                wrong.append(path.name)
    known = {f".{form}" for form in (*TEXTS, *PICTURES)}
    unknown = {path.name for path in folder.iterdir() if path.suffix in known} - expected - SCREENS
    return sorted([*wrong, *unknown])


def _in_step(path: Path, form: str, graph: Graph, dot: bytes) -> bool:
    if not path.is_file():
        return False
    committed = path.read_bytes()
    if form in PICTURES:
        return stamped(committed) == digest(dot.decode())
    return committed == (dot if form == "dot" else draw(graph, form))
