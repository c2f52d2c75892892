"""The signs of a ladder: box-drawing characters, or ASCII where the terminal has no others."""

from __future__ import annotations

from typing import NamedTuple, TextIO


class Glyphs(NamedTuple):
    """bar: a socket that lies idle; busy: a call of it runs; wait: one blocks. begin, end, whole:
    where a call begins, returns, or does both, on (left, right). wire, calls: what an arrow is made
    of, by whether packets or only calls tell of it."""

    bar: str
    busy: str
    wait: str
    begin: tuple[str, str]
    end: tuple[str, str]
    whole: tuple[str, str]
    wire: str
    calls: str


BOX = Glyphs("│", "┃", "▒", ("┏", "┓"), ("┗", "┛"), ("┣", "┫"), "─", "╌")
ASCII = Glyphs(":", "|", "%", ("+", "+"), ("+", "+"), ("+", "+"), "-", ".")


def glyphs_for(stream: TextIO) -> Glyphs:
    """Box-drawing characters where `stream` can write them."""
    try:
        "".join(map("".join, BOX)).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BOX
