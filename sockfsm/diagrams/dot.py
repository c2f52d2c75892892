"""A graph as DOT text, written through the `graphviz` package."""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

from sockfsm.diagrams import palette
from sockfsm.diagrams.graph import BOXES, Cluster, Edge, Graph, Meaning, Node, Words
from sockfsm.diagrams.labels import clean, identifiers

if TYPE_CHECKING:
    from graphviz import Digraph

_ENTRIES_PER_LINE = 4
_NOTE_COLUMNS = 80


def to_dot(graph: Graph) -> str:
    """The graph as DOT text; equal graphs give equal texts."""
    from graphviz import Digraph

    names = identifiers(graph.nodes)
    drawing = Digraph(
        name="sockfsm",
        graph_attr={
            "label": _title(graph),
            "labelloc": "t",
            "labeljust": "l",
            "fontname": palette.FONT,
            "fontcolor": palette.INK,
            "bgcolor": palette.PAPER,
            "pad": "0.25",
            "nodesep": "0.45",
            "ranksep": "0.5",
            "newrank": "true",
            "tooltip": _tip(graph.title),
        },
        node_attr={
            "shape": "box",
            "style": "rounded,filled",
            "fontname": palette.FONT,
            "fontsize": "13",
            "fontcolor": palette.INK,
            "margin": "0.16,0.08",
            "height": "0.4",
        },
        edge_attr={
            "fontname": palette.FONT,
            "fontsize": "12",
            "fontcolor": palette.INK,
            "arrowsize": "0.75",
        },
    )
    # The only purpose of the outermost frame is its label: the legend, below the picture.
    with drawing.subgraph(name="cluster") as frame:
        frame.attr(
            label=_legend(graph), labelloc="b", labeljust="l", pencolor="transparent", margin="6"
        )
        framed = {key for cluster in graph.clusters for key in _inside(cluster)}
        for key, node in graph.nodes.items():
            if key not in framed:
                _node(frame, names[key], node)
        for cluster in graph.clusters:
            _cluster(frame, cluster, graph, names)
        for number, level in enumerate(graph.level):
            with frame.subgraph(name=f"level{number}") as side:
                side.attr(rank="same")
                for key in level:
                    side.node(names[key])
    for edge in graph.edges:
        _edge(drawing, edge, names)
    return str(drawing.source)


def _inside(cluster: Cluster) -> set[str]:
    keys = set(cluster.nodes)
    for inner in cluster.clusters:
        keys |= _inside(inner)
    return keys


def _cluster(frame: Digraph, cluster: Cluster, graph: Graph, names: dict[str, str]) -> None:
    look = palette.box(cluster.meanings)
    with frame.subgraph(name=f"cluster_{cluster.key}") as part:
        part.attr(
            label=f"<<font color='{look.border}'><b>{_text(cluster.title)}</b></font>>",
            labelloc="t",
            labeljust="l",
            style="rounded,filled",
            fillcolor=palette.FRAME,
            pencolor=look.border,
            penwidth="1.0",
            margin="14",
            tooltip=_tip(cluster.title),
        )
        for key in cluster.nodes:
            _node(part, names[key], graph.nodes[key])
        for inner in cluster.clusters:
            _cluster(part, inner, graph, names)


def _node(drawing: Digraph, name: str, node: Node) -> None:
    look = palette.node_box(node)
    style = "rounded,filled" + (f",{look.dash}" if look.dash else "")
    final = {"peripheries": "2"} if Meaning.FINAL in node.meanings else {}
    if Meaning.INITIAL in node.meanings:
        look = look._replace(width=2.6)
    drawing.node(
        name,
        label=_node_label(node),
        style=style,
        fillcolor=look.fill,
        color=look.border,
        penwidth=f"{look.width}",
        tooltip=_tip(node.tip or node.label),
        **final,
    )


def _node_label(node: Node) -> str:
    colour = palette.ink(Meaning.PLAIN) if Meaning.PLAIN in node.meanings else palette.INK
    weight = "i" if Meaning.STEP in node.meanings else "b"
    head = f"<font color='{colour}'><{weight}>{_text(node.label)}</{weight}></font>"
    if not node.rows:
        return f"<{head}>"
    rows = "".join(
        _row(f"<font point-size='11'>{_words(row, palette.INK)}</font>") for row in node.rows
    )
    return (
        "<<table border='0' cellborder='0' cellspacing='0' cellpadding='1'>"
        f"<tr><td>{head}</td></tr>{rows}</table>>"
    )


def _row(content: str) -> str:
    return f"<tr><td align='left'>{content}</td></tr>"


def _edge(drawing: Digraph, edge: Edge, names: dict[str, str]) -> None:
    look = palette.edge_line(edge)
    attributes = {"color": look.colour, "penwidth": f"{look.width}", "tooltip": _tip(edge.tip)}
    if edge.rows:
        attributes["label"] = _edge_label(edge, look.text)
        attributes["labeltooltip"] = _tip(edge.tip)
    if look.dash:
        attributes["style"] = look.dash
    # Defaults are not written, so that the DOT stays readable.
    if edge.weight != 1:
        attributes["weight"] = str(edge.weight)
    if not edge.ranked:
        attributes["constraint"] = "false"
    if edge.mutual:
        attributes["dir"] = "both"
    drawing.edge(names[edge.source], names[edge.target], **attributes)


def _edge_label(edge: Edge, colour: str) -> str:
    # A plain label would touch the line; a table's padding keeps the words away from it.
    rows = "".join(_row(_words(row, colour)) for row in edge.rows)
    return f"<<table border='0' cellborder='0' cellspacing='0' cellpadding='2'>{rows}</table>>"


def _words(row: Words, usual: str) -> str:
    parts = []
    for word in row:
        text = _text(word.text)
        if word.meaning in palette.WAITING:
            text = f"{text} {palette.WAIT_MARK}"
        colour = palette.ink(word.meaning, usual)
        parts.append(f"<font color='{colour}'>{text}</font>")
    return "".join(parts)


def _title(graph: Graph) -> str:
    rows = (
        f"<tr><td align='left'><font point-size='20'><b>{_text(graph.title)}</b></font></td></tr>"
    )
    if graph.subtitle:
        rows += (
            f"<tr><td align='left'><font point-size='12' color='{palette.FAINT}'>"
            f"{_text(graph.subtitle)}</font></td></tr>"
        )
    rows += "<tr><td height='8'></td></tr>"
    return f"<<table border='0' cellborder='0' cellspacing='0' cellpadding='2'>{rows}</table>>"


def _legend(graph: Graph) -> str:
    entries = [_entry(meaning) for meaning in graph.legend() if meaning not in _UNLISTED]
    lines = [
        "<tr>" + "".join(entries[start : start + _ENTRIES_PER_LINE]) + "</tr>"
        for start in range(0, len(entries), _ENTRIES_PER_LINE)
    ]
    rows = ["<tr><td height='6'></td></tr>"]
    if lines:
        # In a table of its own, so that long notes do not stretch its columns.
        table = "<table border='0' cellborder='0' cellspacing='3' cellpadding='1'>"
        rows.append(_row(f"{table}{''.join(lines)}</table>"))
    rows += [
        _row(f"<font point-size='11' color='{palette.FAINT}'>{_text(line)}</font>")
        for note in graph.notes
        for line in wrap(note, _NOTE_COLUMNS)
    ]
    return f"<<table border='0' cellborder='0' cellspacing='0' cellpadding='1'>{''.join(rows)}</table>>"


_UNLISTED = frozenset({Meaning.NOTE})
_STROKES = {"": "━━", "dashed": "╍╍", "dotted": "┉┉"}


def _entry(meaning: Meaning) -> str:
    text = f"<td align='left'><font point-size='11'>{_text(meaning.value)}    </font></td>"
    if meaning in BOXES or meaning in (Meaning.INITIAL, Meaning.PLAIN):
        look = palette.box(frozenset({meaning}))
        border = 2 if meaning in (Meaning.INITIAL, Meaning.FINAL) else 1
        swatch = (
            f"<td><table border='{border}' cellborder='0' cellspacing='0' cellpadding='0' "
            f"color='{look.border}' bgcolor='{look.fill}' style='rounded'>"
            "<tr><td width='18' height='10'></td></tr></table></td>"
        )
        return swatch + text
    if meaning is Meaning.STAYS:
        mark = f"<font point-size='13'>{palette.STAY_MARK}</font>"
    elif meaning in palette.WAITING:
        mark = f"<font color='{palette.ink(meaning)}' point-size='13'>{palette.WAIT_MARK}</font>"
    else:
        look_line = palette.line(frozenset({meaning}))
        mark = f"<font color='{look_line.colour}' point-size='11'>{_STROKES[look_line.dash]}</font>"
    return f"<td align='center'>{mark}</td>{text}"


def _text(text: str) -> str:
    # An empty <font> or <b> is a syntax error for Graphviz.
    return escape(clean(text), quote=True) or " "


def _tip(text: str) -> str:
    # In a tooltip Graphviz reads backslashes as escapes, and text in <...> as HTML.
    line = clean(" ".join(text.split())).replace("\\", "\\\\")
    return line if line and not line.startswith("<") else f" {line}"
