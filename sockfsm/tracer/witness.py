"""What the kernel itself shows of a socket: where it can be, and that it would refuse a call.

The model can be out of date: a forked child, C code or os.dup2 changed the socket beside us. The kernel
is asked by calls that change nothing, before a call is stopped and when a socket comes from elsewhere.
What it cannot show (a direction that was shut on a fresh socket, say) has to show in a call itself.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from errno import ENOTSOCK
from typing import Any, NamedTuple

from sockfsm.model.stepping import GONE
from sockfsm.record.layout import METHODS
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.rows import Kind, Row

_getsockopt = _socket.socket.getsockopt
_getsockname = _socket.socket.getsockname
_getpeername = _socket.socket.getpeername
_fileno = _socket.socket.fileno
_family = _socket.socket.family.__get__
_type = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__

# The byte that TCP_INFO begins with, see tcp_states.h.
_SYN_SENT, _SYN_RECV, _CLOSE, _LISTEN = 2, 3, 7, 10
_SENDING_IS_OVER = frozenset({4, 5, 6, _CLOSE, 9, _LISTEN, 11})
_UNMADE = frozenset({"START", "RESOLVED"}) | GONE
_FRESH = "CREATED", "BOUND"
_OVER = "REFUSED", "DISCONNECTING", "ESTABLISHED_RESET", "RESET"


class Facts(NamedTuple):
    """What can be seen of a socket. tcp: the byte of its TCP state, 0 for other kinds."""

    stream: bool
    unix: bool
    listening: bool
    connected: bool
    named: bool
    tcp: int


def numbers_of(sock: _stdlib.socket) -> tuple[int, int, int]:
    """(family, type, protocol) as plain integers, which `socket.family` is not."""
    return _family(sock), _type(sock), _proto(sock)


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


def can_be(state: str, seen: Facts) -> bool:
    """Whether a socket of which this is seen can be in `state`.

    What the peer has done shows in the model when a call meets it, and before that in the kernel.
    """
    if state in _UNMADE:
        return False
    fresh = state.startswith(_FRESH)
    if seen.listening or state.startswith("LISTENING"):
        return seen.listening and state.startswith("LISTENING")
    if not seen.tcp:
        return fresh != seen.connected and (seen.named or not state.startswith("BOUND"))
    if fresh:
        return seen.tcp == _CLOSE and (seen.named or not state.startswith("BOUND"))
    if seen.tcp == _CLOSE or state.startswith("CONNECTING"):
        return True
    return seen.tcp not in (_SYN_SENT, _SYN_RECV) and not state.startswith(_OVER)


def states(kind: Kind, seen: Facts) -> list[str]:
    """All states in which such a socket can be."""
    return sorted(state for state in kind.states if can_be(state, seen))


def fits(sock: _stdlib.socket, row: Row) -> bool:
    """Whether the kernel shows one of the states of a row."""
    seen = facts(sock)
    return seen is not None and any(can_be(state, seen) for state in row.states.split("|"))


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
