"""Tells the packets of traced sockets from those of strangers, so that only the former are kept.

A stranger may use a port before our socket has it, and again after. So a packet counts only if, at its
time, a traced socket had both of its endpoints, or listened at or was bound to one of them. A TCP
connection is judged by the packet that opens it: what the kernel sends after close() still belongs to
it. `Directory` names the socket of a packet; this only says whether there may be one, so it keeps a
packet in case of doubt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6

from sockfsm.events import Call, Endpoint, Packet, Process, Socket
from sockfsm.trace.causes import SLACK
from sockfsm.trace.directory import ANY4, ANY6, end_of

_NEVER = 1 << 63
_ANY = frozenset({ANY4, ANY6, ""})
_PENDING = frozenset({"EINPROGRESS", "EALREADY", "EAGAIN", "timeout", "EINTR"})
_ENDS = frozenset({"close", "exit"})

_UNKNOWN = "?"

Way = tuple[str, Endpoint, Endpoint]  # protocol, ends


@dataclass(slots=True)
class _Life:
    """One socket: which processes used it, and until when."""

    socket: Socket
    begin: int
    closed: dict[str, int | None] = field(default_factory=dict)  # log -> when its last close ended
    processes: dict[str, Process] = field(default_factory=dict)
    end: int = _NEVER


@dataclass(slots=True)
class _Held:
    """The time during which a socket had a name, or used one as its target."""

    begin: int
    end: int
    life: _Life

    def at(self, time: int, slack: int) -> bool:
        return self.begin - slack <= time <= min(self.end, self.life.end) + slack


_Table = dict[tuple[str, Endpoint], list[_Held]]


class PacketFilter:
    """Knows the names that traced INET sockets had or spoke to, and when.

    slack: how far, ns, a packet's time may be from that of its call.
    """

    def __init__(self, calls: Iterable[Call], slack: int = SLACK) -> None:
        self._slack = slack
        self._lives: dict[str, _Life] = {}
        self._pairs: dict[Way, list[_Held]] = defaultdict(list)
        self._names: _Table = defaultdict(list)
        self._towards: _Table = defaultdict(list)
        self._flows: dict[tuple[Endpoint, Endpoint], bool] = {}
        # Source of a datagram -> the socket that must have sent it, although its name is not known.
        self._learned: dict[Endpoint, _Life] = {}
        naming: list[tuple[Call, _Life, Endpoint | None, Endpoint | None]] = []
        for call in calls:
            socket = call.socket
            if socket is None or socket.family not in (AF_INET, AF_INET6):
                continue
            life = self._life(call, socket)
            if call.address is not None or call.moved:
                naming.append((call, life, end_of(socket.local), end_of(socket.remote)))
        for life in self._lives.values():
            ends = [_closed(log, life) for log in life.closed]
            life.end = max(ends, default=_NEVER)
        for each in naming:
            self._add_names(*each)

    def _life(self, call: Call, socket: Socket) -> _Life:
        life = self._lives.get(socket.identity)
        if life is None:
            begin = call.begin
            if call.call == "accepted":
                # The kernel opened the connection before accept() returned it, while we listened.
                parent = self._lives.get(socket.parent or "")
                begin = parent.begin if parent else 0
            life = self._lives[socket.identity] = _Life(socket, begin)
        log = call.process.log
        life.processes[log] = call.process
        ended = call.call in _ENDS and call.outcome == "ok"
        life.closed[log] = call.end if ended else None
        return life

    def _add_names(
        self, call: Call, life: _Life, local: Endpoint | None, remote: Endpoint | None
    ) -> None:
        """Note the names that a call shows. The log may have the local one only later."""
        socket, word = life.socket, call.call
        kind = socket.kind
        local = _named(local) or _named(end_of(socket.local))
        if local and remote and remote[1]:
            held = _Held(life.begin, _NEVER, life)
            self._pairs[kind, local, remote].append(held)
            self._pairs[kind, _hostless(local), _hostless(remote)].append(held)
        if local and (kind == "udp" or word in ("bind", "listen") or _adopted(word, remote)):
            begin = life.begin if kind == "udp" else call.begin
            _hold(self._names, kind, local, _Held(begin, _NEVER, life))
        target = end_of(call.address) if word in ("connect", "send") else None
        if target and target[1] and not (kind == "tcp" and local and local[0] not in _ANY):
            lasting = word == "connect" and (call.outcome in _PENDING or kind == "udp")
            until = _NEVER if lasting else call.end
            _hold(self._towards, kind, target, _Held(call.begin, until, life))

    def keeps(self, packet: Packet | None) -> bool:
        """Whether a packet is a traced socket's. Ask for every packet, in the order of the capture."""
        if packet is None:
            return False
        source, target, time = packet.source, packet.target, packet.time
        if packet.protocol == "udp":
            return self._datagram(source, target, time)
        key = (source, target) if source <= target else (target, source)
        known = self._flows.get(key)
        opens = "S" in packet.flags and "A" not in packet.flags
        if known is None or opens:
            # While we connect to it, the other end's SYN opens the same connection.
            both = bool(known) and self._at(self._towards, "tcp", source, time) is not None
            known = self._flows[key] = both or self._connects(source, target, time, opens)
        elif not known and self._pair("tcp", source, target, time, opens=False):
            known = self._flows[key] = True  # a traced socket got it when it was open already
        return known

    def _connects(self, source: Endpoint, target: Endpoint, time: int, opens: bool) -> bool:
        if self._pair("tcp", source, target, time, opens=opens):
            return True
        ends = (target,) if opens else (target, source)
        return any(
            self._at(table, "tcp", end, time) is not None
            for end in ends
            for table in (self._names, self._towards)
        )

    def _datagram(self, source: Endpoint, target: Endpoint, time: int) -> bool:
        for end in (source, target):
            learned = self._learned.get(end)
            if learned is not None and time <= learned.end + self._slack:
                return True
            if self._at(self._names, "udp", end, time) is not None:
                return True
        sent = self._at(self._towards, "udp", target, time)
        if sent is not None:
            self._learned[source] = sent
        return sent is not None

    def traced(self, source: Endpoint, target: Endpoint, time: int) -> bool:
        """Whether a TCP socket with these endpoints was traced then. An unknown host is ''."""
        source, target = (end if end[0] else (_UNKNOWN, end[1]) for end in (source, target))
        return self._pair("tcp", source, target, time, opens=True) or any(
            self._at(table, "tcp", end, time) is not None
            for table, end in (
                (self._names, source),
                (self._names, target),
                (self._towards, target),
            )
        )

    def _pair(
        self, kind: str, source: Endpoint, target: Endpoint, time: int, *, opens: bool
    ) -> bool:
        # After close() the kernel goes on with our connection; only a new SYN is somebody else's.
        return any(
            held.begin - self._slack <= time and (not opens or held.at(time, self._slack))
            for way in ((kind, source, target), (kind, target, source))
            for held in self._pairs.get(way, ())
        )

    def _at(self, table: _Table, kind: str, end: Endpoint, time: int) -> _Life | None:
        for key in ((kind, end), (kind, ("", end[1]))):
            for held in table.get(key, ()):
                if held.at(time, self._slack):
                    return held.life
        return None


def _closed(log: str, life: _Life) -> int:
    """When a process closed the socket or ended, according to its log."""
    closed = life.closed[log]
    if closed is None:
        closed = life.processes[log].ended
    return _NEVER if closed is None else closed


def _adopted(word: str, remote: Endpoint | None) -> bool:
    return word == "adopt" and not remote


def _named(end: Endpoint | None) -> Endpoint | None:
    return end if end and end[1] else None


def _hold(table: _Table, kind: str, end: Endpoint, held: _Held) -> None:
    table[kind, _wild(end)].append(held)
    table[kind, _hostless(end)].append(held)


def _hostless(end: Endpoint) -> Endpoint:
    return _UNKNOWN, end[1]


def _wild(end: Endpoint) -> Endpoint:
    """Replace a wildcard host, or a host name to be resolved, by '', which stands for any host."""
    host, port = end
    numeric = host[:1].isdigit() or ":" in host
    return ("", port) if host in _ANY or not numeric else end
