"""The characters that a ladder is drawn with: box drawing, or ASCII if the terminal has no more."""

from __future__ import annotations

from typing import NamedTuple, TextIO


class Glyphs(NamedTuple):
    """One set of characters.

    bar, busy, wait: the line of a socket that is idle, in a call, in a call that blocks. begin, end,
    whole: a call that begins, returns, or both, on the (left, right) side. wire, calls: the line of an
    arrow for a packet, and for a message known only from calls.
    """

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
    """Box drawing if `stream` can write it, else ASCII."""
    try:
        "".join(map("".join, BOX)).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BOX
