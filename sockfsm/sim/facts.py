"""The `given` facts of the rules, as the simulated world has them for one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sockfsm import tcp_names
from sockfsm.sim.answers import NOTHING
from sockfsm.sim.sockets import PIPE, Request, VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.kernel import Kernel

Facts = tuple[dict[str, str], frozenset[str]]
OK = frozenset({"ok"})

_FAILURES = {
    "ECONNREFUSED": "refuses",
    "ECONNRESET": "resets",
    "EPIPE": "breaks",
    "ETIMEDOUT": "lost",
}
DATAGRAMS = 10
"""A UNIX datagram socket's queue is full when it has more (net.unix.max_dgram_qlen)."""
_LARGEST = 65_507


def of(kernel: Kernel, sock: VirtualSocket, request: Request) -> Facts:
    """What the call finds, and the outcomes that are due although the parts do not tell."""
    facts = {"mode": sock.mode}
    if request.word == "bind":
        facts["address"] = kernel.names.judged(sock, request.address)
    elif request.word == "recv":
        if not request.size:
            facts["length"], facts["asked"] = "zero", "nobody"  # Python answers by itself
        if request.peek:
            facts["flag"] = "peek"
    return _KINDS[sock.kind](kernel, sock, request, facts)


def _tcp(kernel: Kernel, sock: VirtualSocket, request: Request, facts: dict[str, str]) -> Facts:
    word, tcb = request.word, sock.tcb
    if word == "listen":
        facts["ports"] = "none" if kernel.names.listened(sock) else "free"
    if sock.queue:
        facts["queue"] = "waiting"
    if tcb is None:
        if sock.failure:
            facts["peer"] = _FAILURES[sock.failure]
        return facts, NOTHING
    data = bool(tcb.received)
    facts["left"] = "data" if data else "nothing"
    facts["wire"] = "slow" if tcb.state in (tcp_names.CLOSING, tcp_names.LAST_ACK) else "fast"
    facts["room"] = "yes" if tcb.space > 0 else "no"
    both = sock.part("rd") == "shut" and sock.part("wr") == "shut"
    if word == "recv" and data and not both:
        facts["peer"] = "sends"
    elif word == "bind" and sock.numbered:
        pass  # a port that was given by number stays, whatever became of the connection
    elif tcb.error:
        facts["peer"] = _FAILURES[tcb.error]
    elif tcb.state in (tcp_names.SYN_SENT, tcp_names.SYN_RECEIVED):
        facts["peer"] = "silent"
    elif tcb.local == tcb.remote and tcb.state != tcp_names.TIME_WAIT:
        facts["peer"] = "itself"
    elif tcb.ended:
        facts["peer"] = "ends"
    return facts, NOTHING


def _udp(kernel: Kernel, sock: VirtualSocket, request: Request, facts: dict[str, str]) -> Facts:
    facts["to"] = "none" if request.address is None else "address"
    facts["size"] = "big" if len(request.data) > _LARGEST else "fits"
    if sock.icmp:
        facts["peer"] = "dead"
        return facts, frozenset({"ECONNREFUSED"})
    if sock.datagrams:
        facts["peer"] = "sends"
    return facts, NOTHING


def _stream(kernel: Kernel, sock: VirtualSocket, request: Request, facts: dict[str, str]) -> Facts:
    word, end = request.word, sock.end
    if word == "connect":
        facts["target"] = kernel.names.found(sock, request.address)
    elif word == "send":
        facts["to"] = "none" if request.address is None else "address"
    if sock.queue:
        facts["queue"] = "waiting"
        return facts, OK if word == "accept" else NOTHING
    if end is None:
        return facts, NOTHING
    facts["made"] = "accept" if sock.event.made_by == "accepted" else "create"
    peer = end.peer
    facts["room"] = "yes" if peer is None or len(peer.received) < (sock.sndbuf or PIPE) else "no"
    if word == "recv" and end.received:
        facts["peer"] = "sends"
        return facts, OK
    if word == "send" and (peer is None or peer.closed or peer.read_shut):
        facts["peer"] = "closes"  # whatever error waits to be told: that is for who reads
    elif end.error:
        facts["peer"] = "resets"
        return facts, frozenset({"ECONNRESET"})
    elif word == "send":
        pass
    elif peer is None or peer.closed:
        facts["peer"] = "closes"
    elif peer.write_shut:
        facts["peer"] = "ends"
    return facts, NOTHING


def _datagram(
    kernel: Kernel, sock: VirtualSocket, request: Request, facts: dict[str, str]
) -> Facts:
    word = request.word
    if word == "recv":
        if sock.datagrams:
            facts["peer"] = "sends"
            return facts, OK
        return facts, NOTHING
    if word == "accept" and sock.datagrams:
        facts["peer"] = "sends"  # Python does not wait for what is there
    facts["to"] = "none" if request.address is None else "address"
    facts["size"] = "big" if len(request.data) > PIPE // 2 else "fits"
    peer = sock.peer
    if request.address is not None and word in ("connect", "send"):
        facts["target"] = kernel.names.found(sock, request.address)
        held = kernel.names.held(request.address)
        peer = held if facts["target"] == "live" and isinstance(held, VirtualSocket) else None
    elif peer is not None and not peer.open:
        facts["peer"] = "dead"
    if peer is not None and peer.open:
        if peer.peer is not None and peer.peer is not sock:
            facts["target"] = "denied"
            return facts, frozenset({"EPERM"})
        if peer.part("rd") == "shut":
            facts["peer"] = "deaf"
        facts["room"] = "no" if len(peer.datagrams) > DATAGRAMS else "yes"
    return facts, NOTHING


_KINDS: dict[str, Callable[[Kernel, VirtualSocket, Request, dict[str, str]], Facts]]
_KINDS = {"tcp": _tcp, "udp": _udp, "unix-stream": _stream, "unix-dgram": _datagram}
