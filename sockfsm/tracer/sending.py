"""send(2) without Python's retry: PEP 475 makes a call again that a signal interrupted."""

from __future__ import annotations

import ctypes

_send = ctypes.CDLL(None).send
_send.restype = ctypes.c_ssize_t
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)


def send_rest(descriptor: int, data: bytes) -> int:
    """Bytes sent, 0 where a signal came before any was or the kernel refused."""
    return max(int(_send(descriptor, data, len(data), 0)), 0)
