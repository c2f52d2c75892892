"""Fits the text of `--help` into the terminal: fills paragraphs, and keeps what stands in columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

_COLUMNS = re.compile(r"(\s*\S.*?\s{2,})(\S.*)")  # `  sockfsm show trace    what it did`
_LEAST = 24  # a second column narrower than this goes below the first
_BELOW = 6


def fitted(text: str, width: int) -> Iterator[str]:
    """The lines of `text`. A paragraph, or a line in columns, is broken anew only if it is too wide."""
    for (indent, whole), group in groupby(text.strip("\n").split("\n"), _sort):
        lines = list(group)
        if max(map(len, lines)) <= width:
            yield from lines
        elif whole:
            yield from textwrap.wrap(
                " ".join(map(str.strip, lines)),
                width,
                initial_indent=" " * indent,
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
        else:
            for line in lines:
                yield from _broken(line, width)


def _sort(line: str) -> tuple[int, bool]:
    """Its indent, and whether it is a part of a paragraph."""
    words = line.strip()
    listed = words.startswith("sockfsm ") or _COLUMNS.fullmatch(line) is not None
    return len(line) - len(line.lstrip()), not listed and bool(words)


def _broken(line: str, width: int) -> Iterator[str]:
    found = _COLUMNS.fullmatch(line)
    if found is None or len(line) <= width or not line.isascii():  # a picture has lines of its own
        yield line
        return
    first, second = found.groups()
    column = len(first)
    if width - column < _LEAST:
        yield first.rstrip()
        first = " " * (len(first) - len(first.lstrip()) + _BELOW)
        column = len(first)
    yield from textwrap.wrap(
        second, width, initial_indent=first, subsequent_indent=" " * column, break_on_hyphens=False
    )
