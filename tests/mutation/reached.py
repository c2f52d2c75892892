"""Which functions each test comes to, learnt once: `make mutants` begins with the tests that matter."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def functions(source: bytes) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, name) of each function, an inner one after that which it is in."""

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = (*names, child.name)
                if not isinstance(child, ast.ClassDef):
                    first = min((d.lineno for d in child.decorator_list), default=child.lineno)
                    yield first, child.end_lineno or first, ".".join(inner)
            yield from walk(child, inner)

    return walk(ast.parse(source), ())


def function_at(source: bytes, line: int) -> str:
    """The innermost function that this line is in, '' for the module's own."""
    found = ""
    for first, last, name in functions(source):
        if first <= line <= last:
            found = name
    return found


class Reached:
    """Function (`path::name`) -> the tests that come to it, and how long each test takes."""

    def __init__(self, tests: dict[str, list[str]], seconds: dict[str, float]) -> None:
        self.tests = tests
        self.seconds = seconds

    @classmethod
    def learnt(cls, root: Path, output: Path, seconds: dict[str, float]) -> Reached:
        """From what `begin` wrote down in the tree `root`."""
        names: dict[tuple[str, str], str] = {}
        tests: dict[str, set[str]] = defaultdict(set)
        for entry in output.read_text(encoding="utf-8").splitlines():
            test, path, line = entry.split("\t")
            if (path, line) not in names and Path(path).is_file():
                name = function_at(Path(path).read_bytes(), int(line))
                names[path, line] = f"{Path(path).relative_to(root)}::{name}"
            if (path, line) in names:
                tests[names[path, line]].add(test)
        return cls({name: sorted(found) for name, found in tests.items()}, seconds)

    @classmethod
    def read(cls, path: Path) -> Reached:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def joined(self, newer: Reached) -> Reached:
        """With what was learnt since, of some tests."""
        again = newer.seconds
        tests = {
            name: [test for test in found if test not in again]
            for name, found in self.tests.items()
        }
        for name, found in newer.tests.items():
            tests[name] = sorted({*tests.get(name, ()), *found})
        return Reached(tests, {**self.seconds, **again})

    def write(self, path: Path) -> None:
        content = json.dumps({"tests": self.tests, "seconds": self.seconds})
        path.write_text(content, encoding="utf-8")

    def first(self, function: str, files: list[str]) -> list[str]:
        """The tests of these files that come to a function, in the order in which to run them.

        Those of a file stay together, for their fixtures; the slow ones come last.
        """
        tests = [t for t in self.tests.get(function, ()) if t.startswith(tuple(files))]
        total: dict[tuple[bool, str], float] = defaultdict(float)
        for test in tests:
            total[self._place(test)] += self.seconds.get(test, 0)
        return sorted(tests, key=lambda t: (self._place(t)[0], total[self._place(t)]))

    def _place(self, test: str) -> tuple[bool, str]:
        return self.seconds.get(test, 0) > 1, test.partition("::")[0]
