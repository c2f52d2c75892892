"""TCP sequence numbers: 32 bits that wrap around (RFC 9293, section 3.4)."""

from __future__ import annotations

MASK = 0xFFFFFFFF
_HALF = 0x80000000


class Seq(int):
    """A sequence number. `+` wraps around; `-` is the signed distance of two of them.

    Seq(5) - 0xFFFFFFFF    # 6: five comes after the wrap
    """

    __slots__ = ()

    def __add__(self, count: int) -> Seq:
        return Seq(int(self) + count & MASK)

    def __sub__(self, other: int) -> int:
        # The shorter way round: numbers are compared modulo 2**32 (RFC 9293, 3.4).
        return (int(self) - other + _HALF & MASK) - _HALF
