"""Whether the kernel itself shows that it would refuse a call.

The model can be out of date: a forked child, C code or os.dup2 changed the socket beside us. So before
a call is stopped the kernel is asked, by calls that change nothing. Where it cannot show the reason (a
direction that was shut on a fresh socket, say) it has to judge the call itself.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from errno import ENOTSOCK
from typing import Any, NamedTuple

from sockfsm.record.layout import METHODS
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.sockets import numbers_of

_getsockopt = _socket.socket.getsockopt
_getsockname = _socket.socket.getsockname
_getpeername = _socket.socket.getpeername
_fileno = _socket.socket.fileno

# The byte that TCP_INFO begins with, see tcp_states.h.
_SYN_SENT, _CLOSE, _LISTEN = 2, 7, 10
_SENDING_IS_OVER = frozenset({4, 5, 6, _CLOSE, 9, _LISTEN, 11})


class Facts(NamedTuple):
    """What can be seen of a socket. tcp: the byte of its TCP state, 0 for other kinds."""

    stream: bool
    unix: bool
    listening: bool
    connected: bool
    named: bool
    tcp: int


def facts(sock: _stdlib.socket) -> Facts | None:
    """What the kernel shows, None for a descriptor that is no socket any more."""
    family, type_, proto = numbers_of(sock)
    stream = type_ & 0xF == int(_stdlib.SOCK_STREAM)
    unix = family == int(_stdlib.AF_UNIX)
    try:
        listening = bool(_getsockopt(sock, _stdlib.SOL_SOCKET, _stdlib.SO_ACCEPTCONN))
        name: Any = _getsockname(sock)
        tcp = stream and not unix and proto in (0, _stdlib.IPPROTO_TCP)
        state = _getsockopt(sock, _stdlib.IPPROTO_TCP, _stdlib.TCP_INFO, 1)[0] if tcp else 0
    except OSError as error:
        if from_handler(error):
            raise
        return None
    try:
        _getpeername(sock)
        connected = True
    except OSError as error:
        if from_handler(error):
            raise
        if error.errno == ENOTSOCK:
            return None
        connected = False
    named = bool(name[1]) if type(name) is tuple else bool(name)
    return Facts(stream, unix, listening, connected, named, state)


def shows(sock: _stdlib.socket, state: str, method: int, refusal: str) -> bool:
    """Whether the kernel shows that it refuses `method` with the errno `refusal`.

    state: where the model sees the socket.
    """
    if _fileno(sock) < 0:
        return True
    seen = facts(sock)
    if seen is None or seen.tcp == _SYN_SENT:
        return False
    call = METHODS[method][1]
    idle = seen.tcp in (0, _CLOSE, _LISTEN)
    if refusal == "EOPNOTSUPP":
        return not seen.stream and call in ("listen", "accept")
    if refusal == "EISCONN":
        return seen.connected or seen.listening
    if refusal in ("ENOTCONN", "EDESTADDRREQ"):
        return not seen.connected and idle
    if refusal == "EPIPE" and call == "send":
        return seen.tcp in _SENDING_IS_OVER
    if refusal != "EINVAL":
        return False
    return {
        "accept": not seen.listening,
        "listen": seen.connected or not idle or (seen.unix and not seen.named),
        # TCP goes on to show a port that a reset has given back.
        "bind": seen.named and (not seen.tcp or not idle or state.startswith("BOUND")),
        "connect": seen.listening,
        "recv": seen.unix and not seen.connected,
    }.get(call, False)
