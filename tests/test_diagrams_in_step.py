"""What stands in diagrams/ was drawn from the machines as they are now."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sockfsm.diagrams.__main__ import main
from sockfsm.diagrams.committed import committed, out_of_step, regenerate
from sockfsm.diagrams.labels import identifiers
from sockfsm.model.kinds import KINDS

FOLDER = Path(__file__).parent.parent / "diagrams"
NAMES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "diagrams"))


def test_the_committed_diagrams_are_in_step_with_the_machines() -> None:
    assert out_of_step(FOLDER) == [], "run `python -m sockfsm.diagrams` and look at the pictures"


def test_each_kind_and_the_server_stand_there_as_text_and_as_picture() -> None:
    for name in (*KINDS, "server"):
        for form in ("dot", "mmd", "svg"):
            assert f"{name}.{form}" in NAMES


def test_each_svg_shows_the_nodes_and_edges_of_its_graph() -> None:
    for diagram in committed():
        root = ET.parse(FOLDER / f"{diagram.name}.svg")
        shown = [e.text for e in root.iter() if e.tag.endswith("title")]
        graph = diagram.graph()
        assert len([title for title in shown if title and "->" in title]) == len(graph.edges)
        assert set(identifiers(graph.nodes).values()) <= set(shown)


@pytest.mark.parametrize("name", ["tcp.dot", "tcp.mmd", "tcp.svg", "server.png"])
def test_a_stale_file_is_named_and_redrawn(copy: Path, name: str) -> None:
    stale = copy / name
    before = stale.read_bytes()
    if stale.suffix in (".svg", ".png"):
        at = before.index(b"sockfsm DOT sha256") + 30
        stale.write_bytes(before[:at] + b"0000" + before[at + 4 :])
    else:
        stale.write_bytes(before.replace(b"LISTENING", b"LISTENS"))
    assert out_of_step(copy) == [name]
    assert regenerate(copy) == [stale]
    assert out_of_step(copy) == []


def test_missing_files_and_strays_are_named(copy: Path) -> None:
    (copy / "udp.svg").unlink()
    (copy / "sctp.svg").write_text("<svg/>")
    assert out_of_step(copy) == ["sctp.svg", "udp.svg"]


def test_the_command_redraws_and_tells(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "udp.dot").unlink()
    (copy / "sctp.svg").write_text("<svg/>")
    assert main([str(copy)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {copy / 'udp.dot'}",
        f"{copy / 'sctp.svg'} belongs to no diagram: remove it",
    ]


def test_a_folder_that_is_not_there_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("sockfsm: no folder")
    assert captured.count("\n") == 1
