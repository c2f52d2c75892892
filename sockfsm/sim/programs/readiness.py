"""Whether a call would wait, as select(), poll() and epoll ask: by the same rules as the call."""

from __future__ import annotations

from sockfsm import tcp_names
from sockfsm.sim import facts
from sockfsm.sim.answers import ask
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.sockets import Request, VirtualSocket

IN, OUT, ERR, HUP, RDHUP = 1, 4, 8, 16, 0x2000
_WAITS = frozenset({"EAGAIN", "EINPROGRESS", "EALREADY"})
_ACCEPT, _RECV, _SEND = (
    Request("accept", "accept"),
    Request("recv", "recv", size=1),
    Request("send", "send", data=b"x"),
)
_OPENING = (tcp_names.SYN_SENT, tcp_names.SYN_RECEIVED)


def _at_once(kernel: Kernel, sock: VirtualSocket, request: Request) -> bool:
    timeout, sock.timeout = sock.timeout, 0.0
    given, seen = facts.of(kernel, sock, request)
    sock.timeout = timeout
    return ask(sock.kind, sock.parts, request.word, given, seen).outcome not in _WAITS


def readable(kernel: Kernel, sock: VirtualSocket) -> bool:
    """Whether accept() or recv() would not wait."""
    if sock.listening:
        return bool(sock.queue)
    tcb = sock.tcb
    if tcb is not None and tcb.state in _OPENING:
        return False
    return _at_once(kernel, sock, _RECV)


def writable(kernel: Kernel, sock: VirtualSocket) -> bool:
    """Whether send() would not wait. A listening socket never is."""
    if sock.listening:
        return False
    tcb = sock.tcb
    if tcb is not None and tcb.state in _OPENING:
        return False
    if sock.kind == "unix-dgram" and sock.peer is None:
        return True
    return _at_once(kernel, sock, _SEND)


def events(kernel: Kernel, sock: VirtualSocket, wanted: int) -> int:
    """What poll() answers for one socket: of `wanted`, and what it always tells."""
    found = 0
    if wanted & IN and readable(kernel, sock):
        found |= IN
    if wanted & OUT and writable(kernel, sock):
        found |= OUT
    tcb, end = sock.tcb, sock.end
    if sock.kind == "tcp" and not sock.listening:
        failed = sock.failure or (tcb is not None and tcb.error)
        fresh = tcb is None
        ended = tcb is not None and tcb.ended
        shut = sock.part("wr") == "shut"
        if failed:
            found |= ERR | HUP | wanted & (IN | OUT)
        elif fresh or (ended and shut):
            found |= HUP
        if ended or failed or sock.part("rd") == "shut":
            found |= wanted & RDHUP
    elif sock.kind == "unix-stream" and not sock.listening:
        gone = end is None or end.peer is None or end.peer.closed
        if gone:
            found |= HUP
        if end is not None and end.error:
            found |= ERR
        if gone or (end is not None and end.peer is not None and end.peer.write_shut):
            found |= wanted & RDHUP
    elif sock.icmp:
        found |= ERR
    return found
