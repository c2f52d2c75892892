"""A graph as DOT and as Mermaid: the same text each time, and nothing hostile gets through."""

import re
import xml.etree.ElementTree as ET

import pytest
import toy_machine

from sockfsm.diagrams.dot import to_dot
from sockfsm.diagrams.graph import Cluster, Edge, Graph, Meaning, Node, Word, words
from sockfsm.diagrams.labels import clean, identifiers, times
from sockfsm.diagrams.lifecycle import lifecycle
from sockfsm.diagrams.mermaid import to_mermaid
from sockfsm.diagrams.render import draw

HOSTILE = [
    '<script>alert("x")</script>',
    'a"]; b -> c; ["',
    "back\\slash\\N\\l",
    "line\nbreak\r\x1b[31mred\x00",
    "\u202eright to left\u2028",
    "<>",
    "&amp; <b>bold</b> --> |x|",
    "`code` **bold** #35; %%comment",
    "end",
    "",
    " ",
    "x" * 5000,
]


def hostile_graph(text: str) -> Graph:
    graph = Graph(title=text, subtitle=text, notes=[text])
    graph.add(
        Node(text, text, frozenset({Meaning.OPEN}), (words(text, Meaning.REFUSED),), tip=text)
    )
    graph.add(Node("end", "end", frozenset({Meaning.FINAL})))
    graph.add(Node("framed", "framed"))
    graph.link(Edge(text, "framed", (words(text),), frozenset({Meaning.VISITED}), tip=text))
    graph.clusters.append(Cluster("c", text, ("framed",)))
    return graph


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "end"])
def test_hostile_text_stays_text_in_svg(text: str) -> None:
    svg = draw(hostile_graph(text), "svg")
    root = ET.fromstring(svg)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    titles = [e.text for e in root.iter() if e.tag.endswith("title")]
    assert "framed" in titles
    assert "end" in titles


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "end"])
def test_hostile_text_stays_within_its_quotes_in_mermaid(text: str) -> None:
    lines = to_mermaid(hostile_graph(text)).splitlines()
    shape = (
        r'---|title: ".*"|flowchart TB|  +subgraph c_\w+ \["[^"]*"\]|  +end|'
        r'  +s_\w+(\("[^"]*"\)|\["[^"]*"\]|\[\["[^"]*"\]\])|'
        r'  s_\w+ (-->|-\.->)(\|"[^"]*"\|)? s_\w+|'
        r"  (classDef|class|linkStyle) [\w #:,.-]+"
    )
    for line in lines:
        assert re.fullmatch(shape, line), line
        assert '""' not in line or line.startswith("title"), line
        for label in re.findall(r'"([^"]*)"', line):
            if not line.startswith("title"):
                assert not re.search(r"[<>`\\]|#(?!\d+;)", label.replace("<br/>", "")), line


def test_two_drawings_of_one_graph_are_the_same_text() -> None:
    one, two = (lifecycle(toy_machine.machine(), refusals=True) for _ in range(2))
    assert to_dot(one) == to_dot(two)
    assert to_mermaid(one) == to_mermaid(two)


def test_every_node_and_edge_is_in_both_texts() -> None:
    graph = lifecycle(toy_machine.machine(), full=True)
    dot, mermaid = to_dot(graph), to_mermaid(graph)
    for edge in graph.edges:
        assert f"{edge.source} -> {edge.target} [" in dot
        assert re.search(rf"s_{edge.source} -\.?->?\S*\|?.* s_{edge.target}\n", mermaid)
    for state in graph.nodes:
        assert f"<b>{state}</b>" in dot
        assert (
            f's_{state}["{state}' in mermaid
            or f's_{state}("{state}' in mermaid
            or (f's_{state}[["{state}' in mermaid)
        )


def test_a_mark_shows_which_call_may_wait() -> None:
    graph = Graph("t")
    graph.add(Node("A", "A"))
    graph.link(Edge("A", "A", ((Word("send"), Word(" / "), Word("recv", Meaning.WOULD_BLOCK)),)))
    assert "send / recv ◷" in to_mermaid(graph)
    assert "recv ◷" in to_dot(graph)
    assert "may block" in to_dot(graph)


def test_a_graph_refuses_a_second_node_of_a_key_and_an_edge_to_nowhere() -> None:
    graph = Graph("t")
    graph.add(Node("A", "A"))
    with pytest.raises(ValueError, match="'A'"):
        graph.add(Node("A", "other"))
    with pytest.raises(ValueError, match="'B'"):
        graph.link(Edge("A", "B"))


def test_identifiers_are_safe_and_unique() -> None:
    names = identifiers(["tcp/A", "tcp:A", "tcp_A", "", "é"])
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names.values())


def test_clean_shows_what_cannot_be_seen() -> None:
    assert clean("a\x1b[0m\n\u202eb é…") == "a\\x1b[0m\\x0a\\u202eb é…"
    assert len(clean("x" * 500)) == 120


def test_a_count_of_one_is_silent() -> None:
    assert (times(1), times(2), times(1234)) == ("", "\u00d72", "\u00d71,234")
