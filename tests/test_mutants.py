"""`make mutants` makes the changes that it says, and none that says nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("mutation")))

from explained import explained
from mutations import mutations, parses
from parts import MACHINES, PARTS, RULES
from parts import tests_for as chosen_for

ROOT = Path(__file__).parents[1]


def changes(source: str) -> set[str]:
    """What each mutation makes of a source of one line."""
    text = source.encode()
    return {m.applied(text).decode() for m in mutations("x.py", text)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a is not None", {"a is None"}),
        ("a and b", {"a or b"}),
        ("not a", {"a"}),
        ("a + 1", {"a - 1", "a + 2"}),
        ("f(a, b)", {"f(b, a)", "pass"}),
        ("any(x)", {"all(x)", "pass"}),
        ("x = a if b else c", {"x = a if (not (b)) else c"}),
        ("x.y = z", {"pass"}),
        ("x = 'ok'", {'x = "ok_"'}),
        ("def f(): return x", {"def f(): return None"}),
        ("raise ValueError", {"pass"}),
        ("while a: break", {"while (not (a)): break", "while a: continue"}),
    ],
)
def test_one_change_at_one_place(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Text."""',
        "x: int | None",
        "def f(a: list[int]) -> dict[int, bool]: ...",
        "Key = int | tuple[int, str]",
        '__all__ = ["a"]',
        "if TYPE_CHECKING: import x",
        "assert x > 1",
        "@dataclass(frozen=True)\nclass X: ...",
        "def f(): return False or None".replace("False or ", ""),
    ],
)
def test_what_says_nothing_is_not_changed(source: str) -> None:
    assert changes(source) == set()


def test_each_field_of_a_rule_but_its_reason() -> None:
    source = 'rule("bind", "name=yes", "EINVAL", "rd=shut", given="a=b", why="1", source="2")'
    assert changes(f"x = ({source},)") == {
        f"x = ({changed},)"
        for changed in (
            "*()",
            source.replace("EINVAL", "ok"),
            source.replace("name=yes", ""),
            source.replace("name=yes", "name!=yes"),
            source.replace("rd=shut", ""),
            source.replace("a=b", ""),
            source.replace("a=b", "a!=b"),
        )
    }


def test_rules_change_places() -> None:
    one, two = (f'rule("{word}", "", "ok")' for word in ("send", "recv"))
    assert f"x = ({two},\n    {one})" in changes(f"x = ({one}, {two})")


def test_a_diff_names_the_lines() -> None:
    source = b"if True:\n    x = a < b\n"
    found = [m.diff(source) for m in mutations("x.py", source)]
    assert ["- x = a < b", "+ x = a <= b"] in found


def test_what_is_no_python_is_known() -> None:
    assert parses(b"x = 1")
    assert not parses(b"x = ")


def test_every_module_of_a_part_has_tests_that_exist() -> None:
    assert (ROOT / MACHINES).is_file()
    assert all((ROOT / path).is_file() for path in RULES)
    for part, (example, _) in PARTS.items():
        found, tests = chosen_for(example)
        assert found == part
        assert all((ROOT / test).exists() for test in tests), tests
    assert chosen_for("sockfsm/cli/main.py") == ("", [])


def test_every_explanation_is_of_a_mutant_that_is_made() -> None:
    made: dict[str, set[str]] = {}
    for diff, reason in explained().items():
        path = diff.partition("\n")[0]
        if path not in made:
            source = (ROOT / path).read_bytes()
            made[path] = {"\n".join((path, *m.diff(source))) for m in mutations(path, source)}
        assert diff in made[path], diff
        assert reason, diff
