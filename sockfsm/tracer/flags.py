"""What the arguments of a transfer tell the machine beside its outcome."""

from __future__ import annotations

import socket as _stdlib
from collections.abc import Mapping
from typing import Any

from sockfsm.model.variants import NOW, VARIANTS
from sockfsm.record.layout import METHODS
from sockfsm.tracer.buffers import UNKNOWN, integer

_PLACE = {
    "send": 1,
    "sendall": 1,
    "sendmsg": 2,
    "recv": 1,
    "recv_into": 2,
    "recvfrom": 1,
    "recvfrom_into": 2,
    "recvmsg": 2,
    "recvmsg_into": 2,
}
"""Method -> which argument has the flags. A sendto() has them when it has three."""
_FLAGS = tuple(
    (int(getattr(_stdlib, f"MSG_{name}")), word)
    for name, word in (
        ("PEEK", "peek"),
        ("OOB", "oob"),
        ("ERRQUEUE", "errqueue"),
        ("FASTOPEN", "fastopen"),
    )
    if hasattr(_stdlib, f"MSG_{name}") and word in VARIANTS
)
_DONTWAIT = int(getattr(_stdlib, "MSG_DONTWAIT", 0))


def flags_of(method: int, args: tuple[Any, ...], named: Mapping[str, Any] = {}) -> int:
    """The flags of a call, 0 where it has none or they are no integer."""
    name = METHODS[method][0]
    place = _PLACE.get(name, 0) or (1 if name == "sendto" and len(args) == 3 else 0)
    value = args[place] if 0 < place < len(args) else named.get("flags", 0)
    return max(integer(value), 0)


def words_of(flags: int, size: int = UNKNOWN, address: object = None) -> str:
    """The words of `model.variants.VARIANTS` that hold for a transfer, in their order there."""
    words = []
    if size == 0 and "zero" in VARIANTS:
        words.append("zero")
    if address is not None and "address" in VARIANTS:
        words.append("address")
    if flags & _DONTWAIT:
        words.append(NOW)
    words += [word for bit, word in _FLAGS if flags & bit][:1]
    return " ".join(words)


def waits_by(flags: int) -> bool:
    """Whether a call with these flags may wait."""
    return not flags & _DONTWAIT
