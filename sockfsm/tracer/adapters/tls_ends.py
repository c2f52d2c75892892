"""The ends of TLS are not the stream's: a close_notify may come before the peer's FIN, and alone."""

from __future__ import annotations

import _socket
import select
from errno import EBADF, ENOTCONN
from posix import fstat
from typing import Any

from sockfsm.model.variants import UNASKED

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


def answers(ssl_object: Any, name: str, size: int) -> str:
    """UNASKED where OpenSSL is about to succeed without a call to the kernel, '' where it may ask.

    name: the call's method. size: how much is asked for.
    """
    if name == "ssl.do_handshake":
        itself = ssl_object.version() is not None  # it is done already
    elif name == "ssl.read":
        itself = size == 0 or ssl_object.pending() > 0
    else:
        itself = name == "ssl.write" and size == 0
    return UNASKED if itself else ""


def _is_open(sock: Any) -> bool:
    if sock is None:
        return False  # a green socket whose call another greenlet ended by close()
    try:
        fstat(_fileno(sock))
    except OSError:
        return False
    return True


def judged(error: BaseException, reading: bool, sock: Any) -> BaseException | None:
    """What the machine is told of an exception of a TLS call; None where it was the stream's end.

    sock: the socket that has the descriptor, None where it has been closed."""
    # Where OpenSSL fails without a call, `ssl` raises errno as an earlier call of the thread left it.
    number = error.errno if isinstance(error, OSError) else 0
    if (number == EBADF and _is_open(sock)) or (number == ENOTCONN and not reading):
        return TLSEndedError()
    if type(error).__name__ not in _ENDS or type(error).__module__ != "ssl":
        return error
    return None if reading and sock is not None and ended(sock) else TLSEndedError()
