"""Stamps a picture with the hash of the DOT it was drawn from, to recognise one that is out of date."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

_KEY = "sockfsm DOT sha256"
_SVG = re.compile(rb"<!-- " + _KEY.encode() + rb" ([0-9a-f]{64}) -->")
# The signature (8 bytes) and the IHDR chunk (25 bytes), which must come first.
_PNG_HEAD = 33


def digest(dot: str) -> str:
    """The SHA-256 of a DOT text, in hexadecimal."""
    return hashlib.sha256(dot.encode()).hexdigest()


def stamp(picture: bytes, kind: str, dot: str) -> bytes:
    """`picture` with the hash of `dot`: in an SVG as a comment, in a PNG as a text chunk."""
    if kind == "svg":
        return picture.rstrip() + f"\n<!-- {_KEY} {digest(dot)} -->\n".encode()
    body = b"tEXt" + f"{_KEY}\0{digest(dot)}".encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return picture[:_PNG_HEAD] + chunk + picture[_PNG_HEAD:]


def stamped(picture: bytes) -> str | None:
    """The hash that `stamp` left in an SVG or PNG; None if there is none."""
    match = _SVG.search(picture)
    if match:
        return match[1].decode()
    mark = b"tEXt" + _KEY.encode() + b"\0"
    at = picture.find(mark)
    return (
        picture[at + len(mark) : at + len(mark) + 64].decode("ascii", "replace") if at > 0 else None
    )
