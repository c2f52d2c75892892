"""The ends of TLS are not the stream's: a close_notify may come before the peer's FIN, and alone."""

from __future__ import annotations

import _socket
import select
from errno import EBADF, ENOTCONN
from posix import fstat
from typing import Any

_fileno = _socket.socket.fileno
_poll = select.poll
_RDHUP = getattr(select, "POLLRDHUP", 0)
_ENDS = {"SSLEOFError", "SSLZeroReturnError"}


class TLSEndedError(Exception):
    """What a call is logged with that only TLS has ended: no refusal of the kernel's."""


def ended(sock: Any) -> bool:
    """Whether the peer has sent its last byte. Nothing is read, so no pending error is taken away."""
    poll = _poll()
    try:
        poll.register(_fileno(sock), _RDHUP)
    except (ValueError, OSError):
        return False
    return bool(poll.poll(0))


def _is_open(sock: Any) -> bool:
    """Whether its descriptor is open; a closed green socket has nothing of the kernel's any more."""
    if sock is None:
        return False
    try:
        fstat(_fileno(sock))
    except OSError:
        return False
    return True


def judged(error: BaseException, reading: bool, sock: Any) -> BaseException | None:
    """What the machine is told of an exception; None where it was the stream's end."""
    # Where OpenSSL fails without a call, `ssl` raises errno as an earlier call of the thread left it.
    number = error.errno if isinstance(error, OSError) else 0
    if (number == EBADF and _is_open(sock)) or (number == ENOTCONN and not reading):
        return TLSEndedError()
    if type(error).__name__ not in _ENDS or type(error).__module__ != "ssl":
        return error
    return None if reading and ended(sock) else TLSEndedError()
