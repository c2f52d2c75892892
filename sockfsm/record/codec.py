"""Records of a call log, put together: `layout` says what each bit means.

Whatever makes records (the tracer, a native writer, importers, the simulator) makes them here. Only
the fast paths of `tracer.transfer` pack a record themselves, with a head word that was made here.
"""

from __future__ import annotations

import struct
from _socket import inet_aton
from collections.abc import Iterator
from json import JSONEncoder
from typing import Any

from sockfsm.record.layout import (
    ADDRESS,
    AFTER,
    BEFORE,
    BEGUN,
    CALL,
    ERRNO,
    ERROR,
    FRAGMENT,
    FRAGMENT_BYTES,
    INET,
    LONGEST,
    MAGIC,
    MOST,
    NOTE,
    NOTED,
    OK,
    OUTCOME,
    OUTCOMES,
    SEAL,
    SLOT,
    STANDARD,
    TIMEOUT,
    WAITED,
)

BEGINNING = MAGIC.ljust(SLOT, b"\0")
"""The first slot of a log that lost nothing."""
Address = tuple[int, int, int]
"""An address in a record: its bits of the head word, `asked`, and its part of `done`."""

NO_ADDRESS: Address = (0, 0, 0)
_CODES = {word: code for code, word in enumerate(OUTCOMES) if code != ERROR}
_ENDING = 0xFFFF << ERRNO | 7 << OUTCOME
# Objects of the program's are not asked how they look.
_encode = JSONEncoder(separators=(",", ":"), default=object.__repr__).encode
_hosts: dict[str, int] = {}
"""A cache of `inet_aton`, which gives the same in every session."""


def head(
    method: int,
    before: int = 0,
    after: int = 0,
    *,
    errno: int = 0,
    outcome: int = OK,
    flags: int = 0,
) -> int:
    """The head word. before, after: states as the `kind` note numbers them. flags: WAITED and so on,
    and the bits of an address."""
    return method | before << BEFORE | after << AFTER | errno << ERRNO | outcome << OUTCOME | flags


def code_of(outcome: str) -> int:
    """The code of an outcome by its name; all that are none of OUTCOMES are errnos."""
    return _CODES.get(outcome, ERROR)


def timed_out(head: int, errno: int) -> int:
    """The head word of a call that Python's own timeout ended, made from that of the errno it is
    taken for."""
    return head & ~_ENDING | errno << ERRNO | TIMEOUT << OUTCOME | WAITED


def begun(method: int, state: int = 0) -> int:
    """The head word of a call that starts to block."""
    return head(method, state, state, flags=BEGUN)


def birth(kind: int, family: int, type: int, proto: int, descriptor: int) -> tuple[int, int]:
    """(asked, done) of the call that made a socket; descriptor: -1 for none."""
    return (
        family & 0xFF | (type & 0xFF) << 8 | (kind & 0xFF) << 16,
        (proto & 0xFFFF) << 32 | descriptor & MOST,
    )


def inet(host: str, port: int) -> int:
    """An IPv4 name in 48 bits. OSError when `host` is not a dotted quad."""
    number = _hosts.get(host)
    if number is None:
        number = int.from_bytes(inet_aton(host), "big")
        if len(_hosts) < 1000:
            _hosts[host] = number
    return number | port << 32


def ends(peer: int, local: int = 0) -> Address:
    """An IPv4 address, and the local one where it is known, each in `inet`'s 48 bits."""
    return INET << ADDRESS, local & MOST, peer | local >> 32 << 48


def noted(number: int) -> Address:
    """The address that a note gave `number`."""
    return NOTED << ADDRESS, 0, number << 32


def record(
    begin: int, end: int, head: int, socket: int, site: int, thread: int, asked: int, done: int
) -> bytes:
    """One slot."""
    return CALL.pack(begin, end, head, socket, site, thread, asked & MOST, done)


def encoded(content: dict[str, Any]) -> bytes:
    """A note's JSON; of one that is too long, what it is about."""
    text = _encode(content).encode()
    return text if len(text) <= LONGEST else _encode({"too long": [*content]}).encode()


def fragment(number: int, index: int, piece: bytes, *, last: bool) -> tuple[bytes, int, bytes]:
    """One slot of a note, as arguments for FRAGMENT.pack."""
    return piece[:16], NOTE | last << 8 | index << 9 | number << 24, piece[16:]


def fragments(number: int, text: bytes) -> list[tuple[bytes, int, bytes]]:
    """A note's slots, as arguments for FRAGMENT.pack."""
    end = len(text)
    return [
        fragment(
            number,
            at // FRAGMENT_BYTES,
            text[at : at + FRAGMENT_BYTES],
            last=at + FRAGMENT_BYTES >= end,
        )
        for at in range(0, end, FRAGMENT_BYTES)
    ]


def note(number: int, content: dict[str, Any]) -> Iterator[bytes]:
    """The slots of one note."""
    for piece in fragments(number, encoded(content)):
        yield FRAGMENT.pack(*piece)


_SLOT = struct.Struct(STANDARD)  # made now: the program may replace what `struct` has


def seal(slots: int) -> bytes:
    """The last slot of a segment that has so many before it."""
    return _SLOT.pack(slots, 0, SEAL, 0, 0, 0, 0, 0)
