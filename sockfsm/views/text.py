"""Prepares text for a terminal: escapes, cuts, aligns and colours it.

Addresses, paths, and names of threads and files come from the network or from the traced program, so
they may contain escape sequences. Everything that is shown passes `plain` first.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

from sockfsm.events import Address

COLOURS = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}


def plain(text: str) -> str:
    """`text` with each character that a terminal would act on or hide escaped, as in \\x1b."""
    # Nearly all texts: these checks are far quicker than looking at each letter.
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """The terminal columns that `text` takes; a wide letter takes two."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """The beginning of `text`, at most `columns` wide; `..` marks what is left out."""
    if width(text) <= columns:
        return text
    kept, used = [], 2
    for letter in text:
        used += _columns(letter)
        if used > columns:
            break
        kept.append(letter)
    return "".join(kept) + ".."


def cut_front(text: str, columns: int) -> str:
    """The end of `text`, at most `columns` wide: the end of a path tells more than its beginning."""
    if width(text) <= columns:
        return text
    kept, used = [], 2
    for letter in reversed(text):
        used += _columns(letter)
        if used > columns:
            break
        kept.append(letter)
    return ".." + "".join(reversed(kept))


def pad(text: str, columns: int) -> str:
    """`text` filled with blanks to `columns`."""
    return text + " " * (columns - width(text))


def address(value: Address | None) -> str:
    """An address as `127.0.0.1:80`, `[::1]:80`, `/run/s`, `@abstract`, `(unnamed)`, or `-` for None.

    The result is escaped.
    """
    if value is None:
        return "-"
    if isinstance(value, bytes):
        return path(os.fsdecode(value))
    if isinstance(value, str):
        return path(value)
    if len(value) >= 2:
        host = plain(str(value[0]))
        return f"[{host}]:{value[1]}" if ":" in host else f"{host}:{value[1]}"
    return plain(str(value))


def path(name: str) -> str:
    """The name of a UNIX socket; an abstract one, which begins with NUL, as `@name`. Escaped."""
    if not name:
        return "(unnamed)"
    if name[0] == "\0":
        return "@" + plain(name[1:])
    return plain(name)


def duration(nanoseconds: int) -> str:
    """`840 ns`, `12.3 us`, `4.56 ms`, `1.20 s`, `75 s`."""
    if nanoseconds < 1000:
        return f"{nanoseconds} ns"
    for unit, size in (("us", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 999.5:
            return f"{nanoseconds / size:.3g} {unit}"
    seconds = nanoseconds / 1_000_000_000
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 call`, `1,200 calls`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


class Paint:
    """Colours text for a terminal, or leaves it alone."""

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured

    def __call__(self, text: str, colour: str) -> str:
        if not self.coloured or not text or not colour:
            return text
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def paint_for(stream: TextIO) -> Paint:
    """Colours if `stream` is a terminal that has them, and NO_COLOR (no-color.org) is not set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"
    return Paint(wanted and stream.isatty())
