"""What the arguments of a transfer tell the machine beside its outcome."""

from __future__ import annotations

import socket as _stdlib
from collections.abc import Mapping
from typing import Any

from sockfsm.model.variants import NOW, PROBE, VARIANTS
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
        ("ERRQUEUE", "errqueue"),
        ("OOB", "oob"),
        ("PEEK", "peek"),
    )
    if hasattr(_stdlib, f"MSG_{name}") and word in VARIANTS
)
"""In the order in which the kernel looks at them (`tcp_recvmsg`, `inet_recvmsg`)."""
_FAST_OPEN = int(getattr(_stdlib, "MSG_FASTOPEN", 0)) if "fastopen" in VARIANTS else 0
_PROBE = 0x10  # MSG_PROBE, `socket` has no name for it
_DONTWAIT, _OOB, _ERRQUEUE, _WAITALL = (
    int(getattr(_stdlib, f"MSG_{name}", 0)) for name in ("DONTWAIT", "OOB", "ERRQUEUE", "WAITALL")
)


_UNSIGNED = 1 << 32


def flags_of(method: int, args: tuple[Any, ...], named: Mapping[str, Any] = {}) -> int:
    """The flags of a call, 0 where it has none or they are no integer."""
    name = METHODS[method][0]
    place = _PLACE.get(name, 0) or (1 if name == "sendto" and len(args) == 3 else 0)
    value = args[place] if 0 < place < len(args) else named.get("flags", 0)
    if type(value) is int and -_UNSIGNED // 2 <= value < 0:
        return value + _UNSIGNED  # C takes it as an unsigned number: -1 is every flag
    return max(integer(value), 0)


def words_of(flags: int, size: int = UNKNOWN, address: object = None) -> str:
    """The words of `model.variants` that hold for a transfer, in the order of VARIANTS."""
    words = []
    if size == 0 and "zero" in VARIANTS:
        words.append("zero")
    if address is not None and "address" in VARIANTS:
        words.append("address")
    if flags & _DONTWAIT:
        words.append(NOW)
    words += [word for bit, word in _FLAGS if flags & bit][:1]
    if flags & _PROBE:
        words.append(PROBE)
    if flags & _FAST_OPEN:
        words.append("fastopen")
    return " ".join(words)


def waits_by(flags: int, method: int, kind: str, mode: str) -> bool:
    """Whether a call with these flags may wait."""
    if mode == "timeout":
        return True  # Python waits before it asks the kernel, which alone looks at flags
    if flags & _DONTWAIT:
        return False
    # A receiving call with these is refused when nothing is there.
    never = (flags & _OOB and kind != "udp") or (flags & _ERRQUEUE and kind in ("tcp", "udp"))
    return not never or METHODS[method][1] != "recv"


def may_go_on(flags: int) -> bool:
    """Whether a call that finds data may wait for more."""
    return bool(flags & _WAITALL)
