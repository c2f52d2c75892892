"""What people usually meant by a call that was refused, and what they could have called instead.

The rules say why the kernel refuses; only this table says what to do about it.
"""

from __future__ import annotations

from sockfsm.model.flat import FlatMachine
from sockfsm.model.rules import WITHOUT_DESCRIPTOR

# (call, outcome, beginning of the state's name, kind's ending) -> what people usually meant. The
# first that fits; '' fits everything.
_MEANT = (
    ("accept", "EINVAL", "CONNECTED", "", "accept() belongs to the listening socket, not to the "
     "data socket that it returned."),
    ("accept", "EINVAL", "BOUND", "", "call listen() between bind() and accept()."),
    ("accept", "EINVAL", "CREATED", "", "bind(), listen(), accept(): in this order."),
    ("accept", "EOPNOTSUPP", "", "", "a datagram server has no accept(): bind(), then recvfrom() and "
     "sendto()."),
    ("listen", "EOPNOTSUPP", "", "", "a datagram server has no listen(): bind(), then recvfrom()."),
    ("listen", "EINVAL", "CREATED", "unix-stream", "bind() a path first."),
    ("listen", "EINVAL", "", "", "make a new socket for listening; this one is a connection's end."),
    ("bind", "EINVAL", "CONNECT", "", "bind() comes before connect(); without it the kernel chooses."),
    ("bind", "EINVAL", "", "", "bind() once; a second address needs a second socket."),
    ("bind", "EADDRINUSE", "", "tcp", "set SO_REUSEADDR before bind() for TIME_WAIT, or find the "
     "program that listens there (`ss -ltnp`)."),
    ("bind", "EADDRINUSE", "", "unix-stream", "unlink the stale path before bind()."),
    ("bind", "EADDRINUSE", "", "unix-dgram", "unlink the stale path before bind()."),
    ("bind", "EACCES", "", "tcp", "choose a port of 1024 or more."),
    ("bind", "EACCES", "", "udp", "choose a port of 1024 or more."),
    ("bind", "EADDRNOTAVAIL", "", "", "bind to an address of this machine, such as 127.0.0.1, or to '' "
     "for all of them."),
    ("connect", "EISCONN", "LISTENING", "", "a client needs a socket of its own."),
    ("connect", "EINVAL", "LISTENING", "", "a client needs a socket of its own."),
    ("connect", "EISCONN", "", "", "one socket, one connection: make a new socket to connect again."),
    ("connect", "ECONNREFUSED", "", "unix-stream", "start the server first; if it ended, its path is "
     "stale."),
    ("connect", "ECONNREFUSED", "", "", "start the server first, and compare address and port."),
    ("connect", "ECONNABORTED", "", "", "after a failed attempt close the socket and make a new one."),
    ("connect", "EINVAL", "DISCONNECTING", "", "after a failed attempt close the socket and make a new "
     "one."),
    ("connect", "ENOENT", "", "", "start the server first, and compare the paths."),
    ("connect", "EPROTOTYPE", "", "", "use the same type (stream or datagram) on both sides."),
    ("send", "EPIPE", "LISTENING", "", "send on the data socket: conn, peer = listener.accept()."),
    ("send", "ENOTCONN", "LISTENING", "", "send on the data socket: conn, peer = listener.accept()."),
    ("send", "EPIPE", "CREATED", "", "connect() first."),
    ("send", "EPIPE", "BOUND", "", "connect() first."),
    ("send", "ENOTCONN", "", "", "connect() first; for datagrams sendto() works without."),
    ("send", "EDESTADDRREQ", "", "", "sendto(data, address), or connect() first."),
    ("send", "EPIPE", "PEER_CLOSED", "", "stop sending once recv() gave b''."),
    ("send", "EPIPE", "", "", "this direction is shut: send everything before shutdown(SHUT_WR)."),
    ("send", "ECONNREFUSED", "", "", "nobody is bound to that address: start the peer first."),
    ("send", "EMSGSIZE", "", "", "split the data into smaller datagrams."),
    ("recv", "ENOTCONN", "LISTENING", "", "receive on the data socket: conn, peer = "
     "listener.accept()."),
    ("recv", "EINVAL", "LISTENING", "", "receive on the data socket: conn, peer = listener.accept()."),
    ("recv", "ENOTCONN", "", "", "connect() first."),
    ("recv", "EINVAL", "", "", "connect() first."),
    ("shutdown", "ENOTCONN", "", "", "close() ends a socket that has no connection."),
    ("disconnect", "EINVAL", "", "", "close() it and make a new socket."),
    ("", "EBADF", "CLOSED", "", "keep the socket open until the last call, or look for the close() "
     "that came too early (a `with` block that ended?)."),
    ("", "EMFILE", "", "", "close the sockets that are done: each accept() makes one."),
)  # fmt: skip


def meant(kind: str, state: str, call: str, outcome: str) -> str:
    """What people usually meant by such a call; '' if nothing is known."""
    for word, errno_name, beginning, ending, text in _MEANT:
        if not call.startswith(word) or errno_name != outcome:
            continue
        if state.startswith(beginning) and kind.endswith(ending):
            return text
    return ""


def legal_now(flat: FlatMachine, state: str) -> tuple[str, ...]:
    """The legal calls on the socket itself in `state`."""
    return tuple(call for call in flat.legal(state) if call not in WITHOUT_DESCRIPTOR)
