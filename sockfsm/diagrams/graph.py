"""A small graph: nodes, edges and clusters, styled by what they mean, not by colour.

The builders (`lifecycle`, `server`, `path`) make it, and the renderers (`dot`, `mermaid`) draw it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Meaning(str, Enum):
    """What a node, a row, an edge or a word of a label stands for. The value is the legend's text.

    `palette` has a look for each. Their order is the order of the legend.
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


# The meanings that colour a node's box. A node has one of them, and may have others, such as INITIAL.
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
    """A piece of a label. meaning: None for plain text."""

    text: str
    meaning: Meaning | None = None


Words = tuple[Word, ...]


def words(text: str, meaning: Meaning | None = None) -> Words:
    """A label of one word."""
    return (Word(text, meaning),)


@dataclass(frozen=True, slots=True)
class Node:
    """A state or a step. key: unique in the graph. rows: smaller lines below the label."""

    key: str
    label: str
    meanings: frozenset[Meaning] = frozenset()
    rows: tuple[Words, ...] = ()
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge from one node's key to another's.

    rows: the lines of its label. weight: how strongly it should be short and straight. ranked: False if
    it must not push its ends apart, as a message to the other side or a way back. strength: the width
    of its line, as a multiple of the usual one. mutual: it has an arrowhead at both ends.
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
    """A frame around some nodes, and around other clusters."""

    key: str
    title: str
    nodes: tuple[str, ...]
    clusters: tuple[Cluster, ...] = ()
    meanings: frozenset[Meaning] = frozenset()


@dataclass(slots=True)
class Graph:
    """The content of a picture. level: groups of node keys that stand side by side."""

    title: str
    subtitle: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    level: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Add a node. ValueError if its key is taken."""
        if node.key in self.nodes:
            raise ValueError(f"two nodes have the key {node.key!r}")
        self.nodes[node.key] = node

    def link(self, edge: Edge) -> None:
        """Add an edge. ValueError if one of its ends is missing."""
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
