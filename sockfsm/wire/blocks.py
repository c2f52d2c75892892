"""Builds pcapng blocks; times are in nanoseconds. Source: draft-ietf-opsawg-pcapng.

The blocks are in network order, like the headers inside them, so that a reader can unpack block and
headers in one step. Only `struct` is imported: the capturing process uses this module, and it has to
start within milliseconds.
"""

from __future__ import annotations

import struct

SECTION, INTERFACE, SIMPLE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 3, 5, 6
MAGIC = 0x1A2B3C4D

COMMENT = 1
IF_NAME, IF_TSRESOL, IF_TSOFFSET, IF_FILTER = 2, 9, 14, 11
SHB_USERAPPL = 4
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP = 2, 3, 4, 5

_ENHANCED = struct.Struct(">IIIQII")


def option(code: int, value: bytes) -> bytes:
    """One option, padded to 32 bits. A value longer than 65,535 bytes is cut."""
    value = value[:0xFFFF]
    return struct.pack(">HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    """A whole block; options that are not empty get their end mark."""
    if options:
        options += bytes(4)
    length = 12 + len(body) + len(options)
    return struct.pack(">II", kind, length) + body + options + struct.pack(">I", length)


def section(comment: str, application: str = "sockfsm") -> bytes:
    """The section header that opens a file."""
    # -1: the length of the section is not known in advance.
    body = struct.pack(">IHHq", MAGIC, 1, 0, -1)
    options = option(COMMENT, comment.encode()) + option(SHB_USERAPPL, application.encode())
    return block(SECTION, body, options)


def interface(link: int, snap: int, name: str = "") -> bytes:
    """The description of one interface: link type, snap length in bytes, ns resolution."""
    options = option(IF_NAME, name.encode()) if name else b""
    return block(
        INTERFACE, struct.pack(">HHI", link, 0, snap), options + option(IF_TSRESOL, b"\x09")
    )


def packet(
    number: int, wall: int, data: bytes, length: int, comments: tuple[str, ...] = ()
) -> bytes:
    """One packet of interface `number`: `wall` ns since the epoch, `length` bytes on the wire."""
    pad = -len(data) % 4
    options = b"".join(option(COMMENT, comment.encode()) for comment in comments)
    if options:
        options += bytes(4)
    total = 32 + len(data) + pad + len(options)
    head = _ENHANCED.pack(ENHANCED, total, number, wall, len(data), length)
    return head + data + bytes(pad) + options + struct.pack(">I", total)


def comment(number: int, end: int, text: str) -> bytes:
    """A comment after the packets, as a statistics block without counts; `number`: its interface."""
    return block(STATISTICS, struct.pack(">IQ", number, end), option(COMMENT, text.encode()))


def statistics(
    number: int, start: int, end: int, received: int, dropped: int, comment: str = ""
) -> bytes:
    """What interface `number` received and lost between `start` and `end`, ns since the epoch."""
    options = option(ISB_STARTTIME, struct.pack(">Q", start)) + option(
        ISB_ENDTIME, struct.pack(">Q", end)
    )
    options += option(ISB_IFRECV, struct.pack(">Q", received))
    options += option(ISB_IFDROP, struct.pack(">Q", dropped))
    if comment:
        options += option(COMMENT, comment.encode())
    return block(STATISTICS, struct.pack(">IQ", number, end), options)
