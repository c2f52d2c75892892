"""A graph as Mermaid text.

It is a flowchart, because Mermaid's state diagrams can neither style an edge nor quote a label.
"""

from __future__ import annotations

import json
import re

from sockfsm.diagrams import palette
from sockfsm.diagrams.graph import BOXES, Cluster, Edge, Graph, Meaning, Node, Words
from sockfsm.diagrams.labels import clean, identifiers

# Even in quotes Mermaid interprets '#', '"', '<', '`' and Markdown. Codes such as #35; stay text.
_SPECIAL = re.compile(r"[^\w ,./()+:=|…→\u00d7·◷↻-]")


def to_mermaid(graph: Graph) -> str:
    """The graph as Mermaid text; equal graphs give equal texts."""
    # With a prefix no name can be a keyword of Mermaid's, such as `end`.
    names = {key: f"s_{name}" for key, name in identifiers(graph.nodes).items()}
    out = [
        "---",
        f"title: {json.dumps(clean(graph.title), ensure_ascii=False)}",
        "---",
        "flowchart TB",
    ]
    framed = {key for cluster in graph.clusters for key in _inside(cluster)}
    out += [_node(names[key], node) for key, node in graph.nodes.items() if key not in framed]
    for cluster in graph.clusters:
        out += _cluster(cluster, graph, names, "  ")
    out += [_edge(edge, names) for edge in graph.edges]
    out += _classes(graph, names)
    out += [
        f"  linkStyle {number} {_stroke(palette.edge_line(edge))}"
        for number, edge in enumerate(graph.edges)
    ]
    return "\n".join(out) + "\n"


def _inside(cluster: Cluster) -> set[str]:
    return set(cluster.nodes).union(*(_inside(inner) for inner in cluster.clusters))


def _cluster(cluster: Cluster, graph: Graph, names: dict[str, str], indent: str) -> list[str]:
    out = [f'{indent}subgraph c_{cluster.key} ["{_text(cluster.title)}"]']
    out += [indent + _node(names[key], graph.nodes[key]) for key in cluster.nodes]
    for inner in cluster.clusters:
        out += _cluster(inner, graph, names, indent + "  ")
    return [*out, f"{indent}end"]


def _node(name: str, node: Node) -> str:
    label = "<br/>".join([_text(node.label), *(_words(row) for row in node.rows)])
    if Meaning.FINAL in node.meanings:
        return f'  {name}[["{label}"]]'
    return f'  {name}["{label}"]' if Meaning.STEP in node.meanings else f'  {name}("{label}")'


def _edge(edge: Edge, names: dict[str, str]) -> str:
    label = "<br/>".join(_words(row) for row in edge.rows)
    # Mermaid has one kind of dashed arrow; linkStyle tells dashed and dotted apart.
    arrow = "-.->" if palette.edge_line(edge).dash else "-->"
    if edge.mutual:
        arrow = "<" + arrow
    middle = f'|"{label}"|' if label else ""
    return f"  {names[edge.source]} {arrow}{middle} {names[edge.target]}"


def _classes(graph: Graph, names: dict[str, str]) -> list[str]:
    members: dict[str, list[str]] = {}
    looks: dict[str, palette.Box] = {}
    for key, node in graph.nodes.items():
        name = _class(node)
        members.setdefault(name, []).append(names[key])
        looks[name] = palette.node_box(node)
    out = []
    for name, keys in members.items():
        look = looks[name]
        dash = ",stroke-dasharray:5 4" if look.dash else ""
        out.append(
            f"  classDef {name} fill:{look.fill},stroke:{look.border},"
            f"stroke-width:{look.width}px,color:{palette.INK}{dash}"
        )
        out.append(f"  class {','.join(keys)} {name}")
    return out


def _class(node: Node) -> str:
    if Meaning.PLAIN in node.meanings:
        return "plain"
    return next((m.name.lower() for m in BOXES if m in node.meanings), "setup")


def _stroke(look: palette.Line) -> str:
    dash = {"dashed": ",stroke-dasharray:6 4", "dotted": ",stroke-dasharray:2 4"}.get(look.dash, "")
    return f"stroke:{look.colour},stroke-width:{look.width}px,color:{look.text}{dash}"


def _words(row: Words) -> str:
    return "".join(
        _text(word.text) + (f" {palette.WAIT_MARK}" if word.meaning in palette.WAITING else "")
        for word in row
    )


def _text(text: str) -> str:
    # An empty label is a syntax error for Mermaid.
    return _SPECIAL.sub(lambda match: f"#{ord(match[0])};", clean(text)) or " "
