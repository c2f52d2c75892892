"""The generated pages are in step with the data, and their tables hold together."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.traps import TRAPS

sys.path.insert(0, str(Path(__file__).parent.parent / "diagrams"))

import pages as writer
from pages import cell, code, main

FOLDER = Path(__file__).parent.parent / "diagrams"
pages = cache(writer.pages)


@pytest.mark.parametrize("name", [*(f"{kind}.md" for kind in KINDS), "agreement.md"])
def test_the_committed_page_is_in_step(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run: make diagrams"


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_everything(kind: str) -> None:
    text = pages()[f"{kind}.md"]
    for state in flat_of(kind).states:
        assert text.count(f"| `{state}` |") == 2
    for trap in TRAPS:
        assert (f"### {trap.title}\n" in text) == (
            trap.title in {t.title for t in TRAPS if t.kind == kind}
        )
    for rule in flat_of(kind).table.rules:
        assert cell(rule.why) in text


def test_tables_have_as_many_cells_in_every_row() -> None:
    for text in pages().values():
        columns = 0
        for line in text.splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            bars = line.replace("\\|", "").count("|")
            columns = columns or bars
            assert bars == columns, line


def test_writing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == set(pages())
    capsys.readouterr()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert main([str(tmp_path / "none")]) == 2


def test_cells_cannot_break_a_table() -> None:
    assert cell("a|b_c") == "a\\|b\\_c"
    assert code("x=a|b") == "`x=a\\|b`"
    assert code("") == ""
