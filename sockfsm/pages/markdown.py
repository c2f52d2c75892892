"""Markdown tables and text that cannot break them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text for a table's cell: no bar ends it, no sign of Markdown is taken for one."""
    for sign in ("\\", "|", "*", "_", "<"):
        text = text.replace(sign, "\\" + sign)
    return text


def code(text: str) -> str:
    """Text as code in a table's cell; '' stays ''."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; the cells are Markdown already."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return lines
