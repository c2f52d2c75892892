"""The look of each meaning, for all renderers.

The colours are Okabe and Ito's, which colour-blind readers can tell apart. Fills are light, so that
dark text stays legible (contrast 7:1 or better). Lines differ by dash as well as by colour, so that a
grey print is readable.
"""

from __future__ import annotations

from typing import NamedTuple

from sockfsm.diagrams.graph import BOXES, Edge, Meaning, Node

INK = "#1F2933"
FAINT = "#52606D"
PAPER = "#FFFFFF"
FRAME = "#F5F7FA"
FONT = "Helvetica,Arial,sans-serif"
# Stands behind the name of a call that may wait. It is text, so that it survives in every format.
WAIT_MARK = "◷"
STAY_MARK = "↻"
WAITING = frozenset({Meaning.WOULD_BLOCK, Meaning.WAITED})


class Box(NamedTuple):
    """The look of a node: fill, border, border width in points, dash ('' for solid)."""

    fill: str
    border: str
    width: float = 1.3
    dash: str = ""


class Line(NamedTuple):
    """The look of an edge: colour, width in points, dash ('' for solid), text colour."""

    colour: str
    width: float = 1.1
    dash: str = ""
    text: str = INK


_BOXES = {
    Meaning.SETUP: Box("#EEF2F6", "#7B8794"),
    Meaning.LISTENING: Box("#D6EAF8", "#0072B2", 1.8),
    Meaning.OPEN: Box("#D3F0E5", "#007A5A", 1.8),
    Meaning.HALF: Box("#FDF0CF", "#B27D00"),
    Meaning.DEAD: Box("#FBE0D2", "#C24E00"),
    Meaning.FINAL: Box("#DDE2E8", "#3E4C59", 1.8),
    Meaning.STEP: Box("#FFFFFF", "#7B8794", 1.1, "dashed"),
}
_PLAIN = Box("#FAFBFC", "#CBD2D9", 1.0)

_LINES = {
    Meaning.UNEXPLAINED: Line("#A0307A", 1.6, "dotted", "#8A2468"),
    Meaning.REFUSED: Line("#C24E00", 1.5, "dashed", "#A33F00"),
    Meaning.MAKES: Line("#0072B2", 1.8, "dashed", "#005A8E"),
    Meaning.MESSAGE: Line("#52606D", 1.1, "dotted", "#52606D"),
    Meaning.VISITED: Line("#1F2933", 2.0),
    Meaning.LEGAL_PATH: Line("#1F2933", 1.8),
    Meaning.PLAIN: Line("#CBD2D9", 1.0, "", "#7B8794"),
    Meaning.OTHER_PATH: Line("#8795A1", 1.0, "", "#3E4C59"),
}

_WORDS = {
    Meaning.WOULD_BLOCK: "#005A8E",
    Meaning.WAITED: "#005A8E",
    Meaning.REFUSED: "#A33F00",
    Meaning.UNEXPLAINED: "#8A2468",
    Meaning.NOTE: FAINT,
    Meaning.PLAIN: "#7B8794",
}


def box(meanings: frozenset[Meaning]) -> Box:
    """The box of a node with these meanings."""
    if Meaning.PLAIN in meanings:
        return _PLAIN
    return next(
        (_BOXES[meaning] for meaning in BOXES if meaning in meanings), _BOXES[Meaning.SETUP]
    )


def line(meanings: frozenset[Meaning]) -> Line:
    """The line of an edge with these meanings; the first of `_LINES` wins."""
    return next((look for meaning, look in _LINES.items() if meaning in meanings), Line(FAINT))


def ink(meaning: Meaning | None, usual: str = INK) -> str:
    """The colour of a word."""
    return _WORDS.get(meaning, usual) if meaning else usual


def node_box(node: Node) -> Box:
    """The box of this node."""
    return box(node.meanings)


def edge_line(edge: Edge) -> Line:
    """The line of this edge."""
    look = line(edge.meanings)
    return look._replace(width=round(look.width * edge.strength, 1))
