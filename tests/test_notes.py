"""Every note that is written has a form, and fits it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sockfsm
from sockfsm.record.notes import FORMS, checked
from sockfsm.tracer.addresses import shown

PACKAGE = Path(sockfsm.__file__).parent


def written() -> set[str]:
    """The first key of each note in the source of the tracer and the writer."""
    found = set()
    for folder in ("tracer", "record"):
        for path in (PACKAGE / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("note"):
                    dicts = [a for a in node.args if isinstance(a, ast.Dict) and a.keys]
                    found |= {ast.literal_eval(d.keys[0]) for d in dicts if d.keys[0] is not None}
    return found


def test_every_note_that_is_written_has_a_form() -> None:
    notes = written()
    assert {"site", "thread", "socket", "kind", "ended", "clock"} <= notes
    assert notes <= set(FORMS)


@pytest.mark.parametrize(
    "address",
    [
        "/tmp/x", b"\0abstract", "", None, ("127.0.0.1", 80), ("::1", 80, 0, 3), ("a", -1),
        ("a", 10**30), (7, 0), ("lo", 3, 0, 1, b"\x01\x02"), ("\udcff", 1), (b"host", 1),
        (b"\xff\xfe", 1), ((1, 2), 3), (1.5, "x"), ("a", True), (None, 1),
        ((((1,), 2), 3), 4), [1, 2], object(),
    ],
)  # fmt: skip
def test_any_address_of_a_program_fits(address: object) -> None:
    note = {"socket": 1, "local": shown(address), "remote": None}
    assert checked(dict(note)) == note


@pytest.mark.parametrize("value", [5, True, -1])
def test_a_number_in_place_of_an_address(value: int) -> None:
    assert checked({"address": 1, "is": value})["is"] == str(value)


def test_what_a_later_version_writes_is_passed_over() -> None:
    assert checked({"colour": "red"}) == {}
    assert checked({"ended": 5, "colour": "red"}) == {"ended": 5}


def test_a_place_without_a_line() -> None:
    note = {"site": 1, "file": "<string>", "line": None, "function": "f"}
    assert checked(note)["line"] == 0
