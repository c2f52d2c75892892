"""No test fails because the machine is slow: none waits less than PATIENCE for what must come."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE

TESTS = Path(__file__).parent
MEASURING = {
    "matrix.py",
    "benchmarks",
    "data",
    "mutation",
    "flood.py",
    "fuzz.py",
    "soak.py",
    "table.py",
}
"""These measure time, and assert nothing."""
WAITING = {"communicate", "wait", "join", "run", "check_output", "check_call", "result"}
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}


def hasty(text: str) -> Iterator[int]:
    """The lines that wait for a number of seconds, or that measure what is asserted."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITING:
            limits = [k.value for k in node.keywords if k.arg == "timeout"]
            limits += node.args[:1]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            limits = [node.right] if clock(node.left) else []
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and clock(node.left):
            yield node.lineno
            continue
        else:
            continue
        if any(
            isinstance(limit, ast.Constant)
            and isinstance(limit.value, (int, float))
            and limit.value < PATIENCE
            for limit in limits
        ):
            yield node.lineno


def clock(node: ast.expr) -> bool:
    """Whether it asks what time it is."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and getattr(node.func.value, "id", "") == "time"
    )


def test_the_tests_are_patient() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if not MEASURING & {*path.relative_to(TESTS).parts}
        for line in hasty(path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("subprocess.run(command, timeout=60)", [1]),
        ("process.wait(20)", [1]),
        ("process.wait()", []),
        ("thread.join(PATIENCE)", []),
        ("deadline = time.monotonic() + 5", [1]),
        ("deadline = time.monotonic() + PATIENCE", []),
        ("assert time.perf_counter() - began < 1", [1]),
        ("urlopen(url, timeout=30)", []),
    ],
)
def test_who_is_hasty_is_found(text: str, lines: list[int]) -> None:
    assert list(hasty(text)) == lines
