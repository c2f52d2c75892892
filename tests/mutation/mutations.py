"""All single mutations of a module's text: each is a place in the text and what stands there instead.

Nothing is made of what tests should not pin down: docstrings, annotations, messages of exceptions,
decorators, imports, `__all__`, `__slots__`, and blocks for type checkers.
"""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

_COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
_CALCULATED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"), ast.Mod: ("%", "*"), ast.BitOr: ("|", "&"), ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
_OTHER_NAME = {"any": "all", "all": "any", "min": "max", "max": "min"}
_UNTOUCHED = ("__all__", "__slots__")


@dataclass(frozen=True)
class Mutation:
    """What stands from `start` to `end` (in bytes) of the file `path` becomes `text`."""

    path: str
    start: int
    end: int
    text: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def diff(self, source: bytes) -> list[str]:
        """The lines that go and come, `-` and `+` before them, without their indentation."""
        before, after = (text.decode().splitlines() for text in (source, self.applied(source)))
        lines = difflib.unified_diff(before, after, n=0, lineterm="")
        return [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "-+"][2:]


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        self.tree = ast.parse(source)
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def start(self, node: Any) -> int:
        offset: int = self.lines[node.lineno - 1] + node.col_offset
        return offset

    def end(self, node: Any) -> int:
        offset: int = self.lines[node.end_lineno - 1] + node.end_col_offset
        return offset

    def text(self, node: ast.AST) -> str:
        return self.source[self.start(node) : self.end(node)].decode()

    def put(self, node: ast.AST, text: str) -> Mutation:
        return Mutation(self.path, self.start(node), self.end(node), text)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Mutation]:
        """An operator is only known by what stands on both its sides."""
        gap = self.source[self.end(left) : self.start(right)]
        if gap.count(old.encode()) == 1:
            at = self.end(left) + gap.index(old.encode())
            yield Mutation(self.path, at, at + len(old), new)

    def walk(self, node: ast.AST) -> Iterator[Mutation]:
        if self.is_rule(node):
            yield from self.of_rule(node)
            return
        yield from self.of_node(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            children = value if isinstance(value, list) else [value]
            if name == "elts":
                yield from self.of_order(children)
            for child in children:
                if isinstance(child, ast.AST) and not self.left_alone(child):
                    yield from self.walk(child)

    def left_alone(self, node: ast.AST) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
                return True
            case ast.Expr(value=ast.Constant()):
                return True  # a docstring
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return True
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                return True
            case ast.Assign(targets=[ast.Name(id=name)]):
                return name in _UNTOUCHED or self.is_type(node.value)
            case ast.Call(func=ast.Name(id="cast" | "TypeVar" | "NewType")):
                return True
        return False

    @staticmethod
    def is_rule(node: ast.AST) -> TypeGuard[ast.Call]:
        match node:
            case ast.Call(func=ast.Name(id="rule"), args=[_, _, _, *_]):
                return True
        return False

    def is_type(self, value: ast.expr) -> bool:
        """`Entry = tuple[int, Row]` is for type checkers."""
        words = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
        kinds = {"tuple", "dict", "list", "Mapping", "Callable", "Sequence", "Iterator", "Literal"}
        return isinstance(value, ast.Subscript | ast.BinOp) and bool(words & kinds)

    def of_node(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.Compare():
                sides = [node.left, *node.comparators]
                for i, op in enumerate(node.ops):
                    yield from self.between(sides[i], sides[i + 1], *_COMPARED[type(op)])
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield from self.between(node.values[0], node.values[1], old, new)
            case ast.BinOp(op=op) if type(op) in _CALCULATED:
                yield from self.between(node.left, node.right, *_CALCULATED[type(op)])
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
                yield self.put(node, self.text(node.operand))
            case ast.Constant(value=bool()):
                yield self.put(node, str(not node.value))
            case ast.Constant(value=int(number)):
                yield self.put(node, str(number + 1))
            case ast.Constant(value=str(word)) if word.isidentifier():
                yield self.put(node, f'"{word}_"')
            case ast.Call():
                yield from self.of_call(node)
        match node:
            case ast.If() | ast.While() | ast.IfExp():
                yield self.put(node.test, f"(not ({self.text(node.test)}))")
            case ast.comprehension():
                for test in node.ifs:
                    yield self.put(test, f"(not ({self.text(test)}))")
            case ast.Return(value=ast.expr() as value) if not self.nothing(value):
                yield self.put(value, "None")
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
                yield self.put(node, "pass")
            case ast.Raise():
                yield self.put(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self.put(node, "pass")
            case ast.Break():
                yield self.put(node, "continue")
            case ast.Continue():
                yield self.put(node, "break")

    def of_call(self, node: ast.Call) -> Iterator[Mutation]:
        if isinstance(node.func, ast.Name) and node.func.id in _OTHER_NAME:
            yield self.put(node.func, _OTHER_NAME[node.func.id])
        if len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
            first, second = (self.text(argument) for argument in node.args[:2])
            if first != second and not isinstance(node.args[1], ast.GeneratorExp):
                start, end = self.start(node.args[0]), self.end(node.args[1])
                yield Mutation(self.path, start, end, f"{second}, {first}")

    def of_order(self, nodes: list[ast.expr]) -> Iterator[Mutation]:
        """Two rules that follow each other change places."""
        for first, second in itertools.pairwise(nodes):
            if self.is_rule(first) and self.is_rule(second):
                text = f"{self.text(second)},\n    {self.text(first)}"
                yield Mutation(self.path, self.start(first), self.end(second), text)

    def of_rule(self, node: ast.Call) -> Iterator[Mutation]:
        """rule(call, when, outcome, then, given=, aside=, ...): not its reason and source."""
        yield Mutation(self.path, self.start(node), self.end(node), "*()")
        if isinstance(node.args[2], ast.Constant):
            yield self.put(node.args[2], '"EINVAL"' if node.args[2].value == "ok" else '"ok"')
        for part in node.args[1:2] + node.args[3:4]:
            yield from self.of_words(part, negated=part is node.args[1])
        for keyword in node.keywords:
            if keyword.arg == "given":
                yield from self.of_words(keyword.value, negated=True)
            elif keyword.arg == "aside":
                yield self.put(keyword.value, "False")

    def of_words(self, node: ast.expr, *, negated: bool) -> Iterator[Mutation]:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            yield self.put(node, '""')
            return
        words = node.value.split()
        for i, word in enumerate(words):
            yield self.put(node, f'"{" ".join(words[:i] + words[i + 1 :])}"')
            if negated:
                other = word.replace("!=", "=") if "!=" in word else word.replace("=", "!=")
                yield self.put(node, f'"{" ".join([*words[:i], other, *words[i + 1 :]])}"')

    @staticmethod
    def nothing(value: ast.expr) -> bool:
        return isinstance(value, ast.Constant) and not value.value


def mutations(path: str, source: bytes) -> list[Mutation]:
    """Those of one module, in the order of its text."""
    finder = _Finder(path, source)
    found = {
        mutation for mutation in finder.walk(finder.tree) if mutation.applied(source) != source
    }
    return sorted(found, key=lambda m: (m.start, m.end, m.text))


def parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
