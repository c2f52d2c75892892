"""Records of a call log, put together: `layout` says what each bit means.

The tracer, a native writer, importers and the simulator make records of these alone; the tracer's fast
path packs a head that was made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sockfsm.record.layout import (
    ADDRESS,
    AFTER,
    BEFORE,
    CALL,
    ERRNO,
    FRAGMENT,
    MAGIC,
    MOST,
    NO_ADDRESS,
    NOTED,
    OK,
    OUTCOME,
    SLOT,
    fragments,
)
from sockfsm.record.writer import encoded

BEGINNING = MAGIC.ljust(SLOT, b"\0")
"""The first slot of a log that lost nothing."""


def head(
    method: int,
    before: int = 0,
    after: int = 0,
    *,
    errno: int = 0,
    outcome: int = OK,
    form: int = NO_ADDRESS,
    flags: int = 0,
) -> int:
    """The head word. before, after: states as the `kind` note numbers them. flags: WAITED and so on."""
    return (
        method
        | before << BEFORE
        | after << AFTER
        | errno << ERRNO
        | form << ADDRESS
        | outcome << OUTCOME
        | flags
    )


def birth(kind: int, family: int, type: int, proto: int, descriptor: int) -> tuple[int, int]:
    """(asked, done) of the call that made a socket; descriptor: -1 for none."""
    return (
        family & 0xFF | (type & 0xFF) << 8 | (kind & 0xFF) << 16,
        (proto & 0xFFFF) << 32 | descriptor & MOST,
    )


def noted(number: int, done: int = 0) -> tuple[int, int]:
    """(form, done) of a call with the address that an `address` note gave `number`."""
    return NOTED, number << 32 | done & MOST


def record(
    begin: int, end: int, head: int, socket: int, site: int, thread: int, asked: int, done: int
) -> bytes:
    """One slot."""
    return CALL.pack(begin, end, head, socket, site, thread, asked & MOST, done)


def note(number: int, content: dict[str, Any]) -> Iterator[bytes]:
    """The slots of one note."""
    for fragment in fragments(number, encoded(content)):
        yield FRAGMENT.pack(*fragment)
