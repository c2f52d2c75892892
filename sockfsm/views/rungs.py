"""Lays out the middle of a ladder: texts beside a bar, and arrows, on lines of a given width."""

from __future__ import annotations

from functools import lru_cache
from textwrap import wrap

from sockfsm.views.placement import LEFT
from sockfsm.views.text import cut, plain, width


@lru_cache(4096)
def beside(parts: tuple[str, ...], site: str, room: int, side: int) -> list[str]:
    """`parts`, joined by commas, on `side`, and `site` on the other side, or below if it does not fit.

    Returns at least one line; each has `room` columns.
    """
    lines = _joined([plain(part) for part in parts], room - 4)
    site = cut(plain(site), room - 4)
    rows = [_at(side, (" " if not n else "   ") + line, room) for n, line in enumerate(lines)]
    if site and len(lines) == 1 and width(lines[0]) + width(site) + 4 <= room:
        gap = " " * (room - width(lines[0]) - width(site) - 2)
        return [f" {lines[0]}{gap}{site} " if side == LEFT else f" {site}{gap}{lines[0]} "]
    return rows + ([_at(side, f"   {site}", room)] if site else [])


def _joined(parts: list[str], room: int) -> list[str]:
    """Lines with as many parts as fit; a part that is too long for a line is broken."""
    lines: list[str] = []
    for number, part in enumerate(parts):
        text = part + ("," if number < len(parts) - 1 else "")
        if lines and width(lines[-1]) + width(text) + 1 <= room:
            lines[-1] += f" {text}"
        else:
            lines += [text] if width(text) <= room else _broken(text, room)
    return lines


def _broken(text: str, room: int) -> list[str]:
    # textwrap counts letters, and a wide one takes two columns.
    return wrap(text, room if text.isascii() else room // 2, break_on_hyphens=False)


def _at(side: int, text: str, room: int) -> str:
    """`text` at one end of a line, its indent on the outer side."""
    indent = len(text) - len(text.lstrip())
    blanks = " " * (room - width(text))
    return text + blanks if side == LEFT else blanks + text.lstrip() + " " * indent


def remark(text: str, room: int, side: int) -> list[str]:
    """A sentence or two below a call, as lines of `room` columns."""
    return [_at(side, f"   {line}", room) for line in _broken(plain(text), room - 4)]


@lru_cache(4096)
def arrow(
    text: str, short: str, tail: str, head: str, side: int, room: int, wire: str
) -> list[str]:
    """An arrow away from `side` with `text` on it, or `short` if there is no room.

    tail, head: names at its ends; they go to a line below if they do not fit. wire: the character that
    the arrow is made of.
    """
    below, ends = "", sum(len(name) + 2 for name in (tail, head) if name) + 5
    if len(text) + ends > room >= len(short) + ends:
        text = short
    elif len(text) + ends > room:
        names = [f"by {tail}" if tail else "", f"ends {head}" if head else ""]
        below = " ".join(filter(None, names))
        tail = head = ""
    tail, head = (f" {name} " if name else "" for name in (tail, head))
    line = f" {cut(text, room - 5)} ".center(room - len(tail) - len(head) - 1, wire)
    row = f"{tail}{line}>{head}" if side == LEFT else f"{head}<{line}{tail}"
    return [row, cut(below, room).center(room)] if below else [row]
