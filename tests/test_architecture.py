"""Imports point one way, as ARCHITECTURE.md draws it, and what is heavy is imported late."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import sockfsm
from sockfsm import tcp_names

PACKAGE = Path(sockfsm.__file__).parent
PAGE = PACKAGE.parent / "ARCHITECTURE.md"

FLOORS = (
    {"errors", "events", "files", "private", "schema", "tcp_names"},
    {"model", "record", "wire"},
    {"trace"},
    {"protocols"},
    {"sim", "tracer", "views"},
    {"conform", "diagrams", "export", "run", "sockfsm", "startup", "step"},
    {"demo", "learn", "testing"},
    {"pytest_plugin"},
    {"cli"},
    {"__main__"},
)
"""From the ground up: a part imports from the floors below its own."""

HEAVY = {
    "aalpy": {"sockfsm.learn.lstar"},
    "graphviz": {"sockfsm.diagrams.dot", "sockfsm.diagrams.render"},  # it writes; it runs `dot`
    "greenlet": {"sockfsm.sim.programs.switch"},
    "msgspec": {
        "sockfsm.conform.progress",
        "sockfsm.record.notes",
        "sockfsm.schema",
        "sockfsm.trace.about",
        "sockfsm.wire.kernel_record",
    },
    "pygraphviz": {"sockfsm.diagrams.render"},
    "pytest": {"sockfsm.pytest_plugin"},
    "rich": {"sockfsm.step.drawing"},
    "scapy": {"sockfsm.wire.dissect"},
    "textual": {"sockfsm.step.app"},
    "transitions": {"sockfsm.model.executed"},
}
BORDERS = HEAVY["msgspec"]
"""What reads a format; a module above imports one inside the function that reads."""
AT_MODULE_LEVEL = {
    "sockfsm.pytest_plugin",
    "sockfsm.model.executed",
    "sockfsm.sim.programs.switch",
    "sockfsm.step.app",
    "sockfsm.step.drawing",
} | BORDERS
"""The ones that are themselves imported late."""


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Name and tree of every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("sockfsm", *path.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


@cache
def imports(tree: ast.AST) -> tuple[tuple[str, bool], ...]:
    """(imported module, whether at module level), those for type checkers alone left out."""

    def walk(node: ast.AST, level: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, level) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute here"
                # `from sockfsm.wire import capture` may name a module or something inside one.
                yield from ((f"{child.module}.{alias.name}", level) for alias in child.names)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, level and not function)

    return tuple(walk(tree, True))


def part(module: str) -> str:
    """The part of the house that a module belongs to."""
    names = module.split(".")
    known = set().union(*FLOORS)
    return names[1] if len(names) > 1 and names[1] in known else "sockfsm"


def floor(name: str) -> int:
    """How high a part lies."""
    return next(number for number, parts in enumerate(FLOORS) if name in parts)


def test_every_part_has_its_floor() -> None:
    on_disk = {part(name) for name, _ in modules()}
    assert on_disk == set().union(*FLOORS)
    for path in PACKAGE.iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert path.stem == "__init__" or path.stem in on_disk, path


def test_imports_point_down() -> None:
    wrong = []
    for name, tree in modules():
        for target, _ in imports(tree):
            if target.split(".")[0] == "sockfsm" and part(target) != part(name):
                above = floor(part(target)) >= floor(part(name))
                wrong += [f"{name} imports {target}"] if above else []
    assert wrong == []


def test_the_page_names_every_part() -> None:
    page = PAGE.read_text(encoding="utf-8")
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert [folder for folder in folders if f"`{folder}/`" not in page] == []


def test_heavy_libraries_are_imported_where_they_belong_and_late() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    early = []
    for name, tree in modules():
        for target, level in imports(tree):
            library = target.split(".")[0]
            if library in HEAVY:
                found[library].add(name)
                early += [f"{name}: {target}"] if level and name not in AT_MODULE_LEVEL else []
    assert dict(found) == HEAVY
    assert early == []


def test_borders_are_crossed_late() -> None:
    early = [
        f"{name}: {target}"
        for name, tree in modules()
        for target, level in imports(tree)
        if level and name not in BORDERS
        if target in BORDERS or target.rpartition(".")[0] in BORDERS
    ]
    assert early == []


def test_files_are_parsed_at_a_border() -> None:
    parsers = ("json.load", "json.loads", "pickle.load", "pickle.loads", "marshal.loads")
    found = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in parsers
    }
    # What is read back in the traced program itself cannot load msgspec: it is checked there.
    own = {name for name in found if name.startswith("sockfsm.record.")}
    assert found - own - {"sockfsm.trace.trace", "sockfsm.model.shipped"} == {"sockfsm.schema"}


def test_the_names_of_tcp_states_stand_in_one_place() -> None:
    """The rules of RFC 9293 use them in conditions, which are checked against that place."""
    names = {name for name in tcp_names.STATES if "-" in name}
    found = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert found == {"sockfsm.tcp_names", "sockfsm.model.rfc9293"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import sockfsm", "dataclasses logging json asyncio threading socket argparse"),
        ("import sockfsm.cli.main", "dataclasses logging json asyncio socket"),
        ("import sockfsm.pytest_plugin", "sockfsm.tracer sockfsm.trace sockfsm.views"),
        ("import sockfsm; sockfsm.tracing", "logging asyncio ssl sockfsm.wire sockfsm.views"),
    ],
)
def test_imports_are_light(code: str, absent: str) -> None:
    names = [*sorted(set(HEAVY) - {"pytest"}), *absent.split()]
    script = f"{code}; import sys; print(*(name for name in {names} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
