"""Text for pictures: makes hostile characters visible, names safe, and counts short."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

TIMES = "\u00d7"
_LONGEST = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


def clean(text: str) -> str:
    """`text` on one line, with invisible characters escaped, cut to 120 characters."""
    if text.isprintable() and len(text) <= _LONGEST:
        return text
    shown = "".join(
        character
        if unicodedata.category(character)[0] not in "CZ" or character == " "
        else _escape(character)
        for character in text[: _LONGEST + 1]
    )
    return shown if len(text) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _escape(character: str) -> str:
    return (
        character.encode("unicode_escape").decode("ascii")
        if character > "~"
        else f"\\x{ord(character):02x}"
    )


def identifiers(keys: Iterable[str]) -> dict[str, str]:
    """Key -> a unique name of letters, digits and underscores."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        base = _UNSAFE.sub("_", key) or "_"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        names[key] = name
    return names


def times(count: int) -> str:
    """`x3`, with a multiplication sign; '' for 1."""
    return f"{TIMES}{count:,}" if count != 1 else ""
