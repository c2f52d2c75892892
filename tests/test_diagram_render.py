"""Pictures: formats, fallbacks without `dot`, and one clear line where nothing can be drawn."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import toy_machine

from sockfsm.diagrams.dot import to_dot
from sockfsm.diagrams.lifecycle import lifecycle
from sockfsm.diagrams.render import draw, save
from sockfsm.diagrams.stamp import digest, stamped
from sockfsm.errors import DrawingError

GRAPH = lifecycle(toy_machine.machine())


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def fake_dot(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_svg_shows_every_state_and_carries_the_hash_of_its_dot() -> None:
    svg = draw(GRAPH, "svg")
    titles = {e.text for e in ET.fromstring(svg).iter() if e.tag.endswith("title")}
    assert set(GRAPH.nodes) <= titles
    assert {f"{edge.source}->{edge.target}" for edge in GRAPH.edges} <= titles
    assert stamped(svg) == digest(to_dot(GRAPH))


def test_png_is_a_picture_that_carries_the_hash_too() -> None:
    png = draw(GRAPH, "png")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert stamped(png) == digest(to_dot(GRAPH))
    assert stamped(png.replace(b"sockfsm DOT", b"another DOT")) is None


def test_dot_text_can_be_drawn_as_it_is() -> None:
    assert b"<title>a&#45;&gt;b</title>" in draw("digraph { a -> b }", "svg")


@pytest.mark.parametrize("form", ["dot", "gv", "svg", "png", "mmd"])
def test_the_suffix_chooses_the_format(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{form.upper()}"
    assert save(GRAPH, path) == path
    assert path.read_bytes() == draw(GRAPH, form)


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"picture\.jpg: end its name with one of \.dot"):
        save(GRAPH, tmp_path / "picture.jpg")
    with pytest.raises(DrawingError, match="no format 'jpg'"):
        draw(GRAPH, "jpg")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"cannot write .*nowhere/a\.dot: No such file"):
        save(GRAPH, tmp_path / "nowhere" / "a.dot")


def test_mermaid_needs_the_graph() -> None:
    with pytest.raises(DrawingError, match="pass the graph"):
        draw("digraph { a }", "mmd")


@pytest.fixture
def without_pygraphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def shown(svg: bytes) -> set[str | None]:
    return {e.text for e in ET.fromstring(svg).iter() if e.tag.endswith("title")}


@pytest.mark.usefixtures("without_dot")
def test_without_dot_pygraphviz_draws(capfd: pytest.CaptureFixture[str]) -> None:
    assert set(GRAPH.nodes) <= shown(draw(GRAPH, "svg"))
    assert draw(GRAPH, "png").startswith(b"\x89PNG")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("without_pygraphviz")
def test_without_pygraphviz_dot_draws() -> None:
    assert set(GRAPH.nodes) <= shown(draw(GRAPH, "svg"))
    assert draw(GRAPH, "png").startswith(b"\x89PNG")


@pytest.mark.usefixtures("without_dot", "without_pygraphviz")
def test_without_either_one_line_says_what_to_install() -> None:
    with pytest.raises(DrawingError, match="install Graphviz") as caught:
        draw(GRAPH, "svg")
    assert "sockfsm[draw]" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert draw(GRAPH, "dot").startswith(b"digraph")


@pytest.mark.usefixtures("without_pygraphviz")
def test_a_dot_that_fails_is_quoted_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dot(tmp_path, "echo 'dot: no plugins found' >&2; exit 3", monkeypatch)
    with pytest.raises(DrawingError, match="dot could not draw: dot: no plugins found"):
        draw(GRAPH, "svg")


def test_bad_dot_text_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DrawingError, match=r"could not draw: .*syntax error"):
        draw("digraph {", "svg")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("without_pygraphviz")
def test_bad_dot_text_is_one_line_from_dot_too() -> None:
    with pytest.raises(DrawingError, match=r"dot could not draw: .*syntax error"):
        draw("digraph {", "svg")
