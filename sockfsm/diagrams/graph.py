"""A small graph that knows no renderer: nodes, edges and clusters, styled by meaning, not colour.

The builders (`lifecycle`, `server`, `path`) make one, the renderers (`dot`, `mermaid`) draw it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Meaning(str, Enum):
    """What a node, a row, an edge or a word of a label stands for; the value is the legend's text.

    Renderers choose a look for each; the order is the legend's order.
    """

    INITIAL = "begin"
    SETUP = "being set up"
    LISTENING = "listening"
    OPEN = "data flows"
    HALF = "one side is shut"
    DEAD = "data path is dead"
    FINAL = "closed"
    STEP = "not a socket call"
    PLAIN = "not visited"
    LEGAL_PATH = "main road"
    OTHER_PATH = "also legal"
    VISITED = "this trace"
    MAKES = "makes a new socket"
    MESSAGE = "reaches the other side"
    STAYS = "stays in the state"
    WOULD_BLOCK = "may block"
    WAITED = "waited"
    REFUSED = "refused by the kernel"
    UNEXPLAINED = "no rule explains it"
    NOTE = "note"


# Meanings that colour a node's box; a node has one of them, and may have more (VISITED, INITIAL).
BOXES = (
    Meaning.SETUP,
    Meaning.LISTENING,
    Meaning.OPEN,
    Meaning.HALF,
    Meaning.DEAD,
    Meaning.FINAL,
    Meaning.STEP,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a label; `meaning` where it says more than its text."""

    text: str
    meaning: Meaning | None = None


Words = tuple[Word, ...]


def words(text: str, meaning: Meaning | None = None) -> Words:
    """One word as a label."""
    return (Word(text, meaning),)


@dataclass(frozen=True, slots=True)
class Node:
    """A state or a step. `rows` are the smaller lines under its label; `key` is unique."""

    key: str
    label: str
    meanings: frozenset[Meaning] = frozenset()
    rows: tuple[Words, ...] = ()
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """From node key to node key. `rows` are the label's lines.

    weight: how much the edge wants to be short and straight. ranked: False for an edge that must
    not push its ends apart (a message to the other side, a way back). strength: how many times the
    usual width its line has. mutual: it has a head at both ends.
    """

    source: str
    target: str
    rows: tuple[Words, ...] = ()
    meanings: frozenset[Meaning] = frozenset()
    tip: str = ""
    weight: int = 1
    ranked: bool = True
    strength: float = 1.0
    mutual: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around some nodes; clusters may stand in a cluster."""

    key: str
    title: str
    nodes: tuple[str, ...]
    clusters: tuple[Cluster, ...] = ()
    meanings: frozenset[Meaning] = frozenset()


@dataclass(slots=True)
class Graph:
    """A picture's content. `level` holds groups of node keys that stand side by side."""

    title: str
    subtitle: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    level: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Add a node; ValueError when its key is taken."""
        if node.key in self.nodes:
            raise ValueError(f"two nodes have the key {node.key!r}")
        self.nodes[node.key] = node

    def link(self, edge: Edge) -> None:
        """Add an edge; ValueError when one of its ends is missing."""
        for end in (edge.source, edge.target):
            if end not in self.nodes:
                raise ValueError(f"an edge ends at {end!r}, which is no node")
        self.edges.append(edge)

    def legend(self) -> tuple[Meaning, ...]:
        """The meanings that the picture uses, in the legend's order."""
        used = {m for node in self.nodes.values() for m in _meanings(node.meanings, node.rows)}
        used.update(m for edge in self.edges for m in _meanings(edge.meanings, edge.rows))
        return tuple(meaning for meaning in Meaning if meaning in used)


def _meanings(own: frozenset[Meaning], rows: Iterable[Words]) -> set[Meaning]:
    return set(own) | {word.meaning for row in rows for word in row if word.meaning}
