"""A picture carries the hash of the DOT it was drawn from, so that a stale one can be told."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

_KEY = "sockfsm DOT sha256"
_SVG = re.compile(rb"<!-- " + _KEY.encode() + rb" ([0-9a-f]{64}) -->")
# Signature and the IHDR chunk, which must come first, are 8 + 25 bytes.
_PNG_HEAD = 33


def digest(dot: str) -> str:
    """The SHA-256 of a DOT text, in hexadecimal."""
    return hashlib.sha256(dot.encode()).hexdigest()


def stamp(picture: bytes, kind: str, dot: str) -> bytes:
    """`picture` ('svg' or 'png') with the hash of `dot` as a comment or a text chunk in it."""
    if kind == "svg":
        return picture.rstrip() + f"\n<!-- {_KEY} {digest(dot)} -->\n".encode()
    body = b"tEXt" + f"{_KEY}\0{digest(dot)}".encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return picture[:_PNG_HEAD] + chunk + picture[_PNG_HEAD:]


def stamped(picture: bytes) -> str | None:
    """The hash that `stamp` left in an SVG or a PNG; None where there is none."""
    found = _SVG.search(picture)
    if found:
        return found[1].decode()
    mark = b"tEXt" + _KEY.encode() + b"\0"
    at = picture.find(mark)
    return (
        picture[at + len(mark) : at + len(mark) + 64].decode("ascii", "replace") if at > 0 else None
    )
