"""Packets joined with the calls that caused them.

By connection: the packet's ends are those of a traced socket. And by time: the kernel stamps a
packet while the call that sends it runs, so the stamp lies within [begin, end] of that call. SYN
comes from connect, data from send, FIN from close or shutdown, RST from close; the kernel sends
acknowledgements and SYN-ACKs on its own. What cannot be decided stays None.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter

from sockfsm.trace.events import Address, Call, Packet, Socket

ANY4, ANY6 = "0.0.0.0", "::"
End = tuple[str, int]
Since = tuple[int, Socket]

# How far the two clocks may be apart (ns): the mapping of wall to monotonic time is measured.
SLACK = 20_000
_LOOK_BACK = 8  # calls of one socket that may run at the same time
_INET = ("tcp", "udp")
_TIME, _BEGIN = itemgetter(0), attrgetter("begin")
_ENDING = ("close", "shutdown", "shutdown_wr", "shutdown_rdwr")


def join(calls: Iterable[Call], packets: Iterable[Packet]) -> Iterator[Packet]:
    """The packets in their order, `socket` and `call` filled in where they can be told.

    Reads all calls first and keeps those that can cause a packet; the packets are streamed.
    """
    return joined(Index(calls), packets)


def joined(index: Index, packets: Iterable[Packet]) -> Iterator[Packet]:
    """The same, with the calls read already."""
    lanes: dict[tuple[End, End], _Lane] = {}
    for packet in packets:
        source, target, flags = packet.source, packet.target, packet.flags
        lane = lanes.get((source, target))
        if lane is None:
            lane = lanes[source, target] = _Lane(index, packet)
        elif flags == "S" and packet.seq != lane.isn and packet.protocol == "tcp":
            # The ports are used again: another connection, other sockets.
            lane = lanes[source, target] = _Lane(index, packet)
            lanes.pop((target, source), None)
        socket, cause = lane.socket, None
        if packet.protocol == "udp":
            socket, cause = lane.datagram(packet)
        elif socket is not None and (packet.length or (flags != "A" and flags != "SA")):
            cause = lane.cause(packet)
        if socket is None and cause is None:
            yield packet
        else:
            yield packet._replace(socket=socket, call=cause)


class _Causes:
    """The calls of one socket that can send something, by the order of their begins."""

    __slots__ = ("begins", "calls", "sent", "wrapped")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.begins: list[int] = []
        self.wrapped = False
        self.sent: list[int] = []  # stream bytes that had been taken after each call

    def finish(self) -> None:
        self.calls.sort(key=_BEGIN)
        self.begins = [call.begin for call in self.calls]
        total = 0
        for call in self.calls:
            if call.call == "send":
                total += call.done
                # What TLS sends is not what the program gave it: its bytes cannot be counted.
                self.wrapped = self.wrapped or call.method.startswith("ssl.")
            self.sent.append(total)

    def during(self, time: int, words: tuple[str, ...]) -> Call | None:
        """The one call with such a word that was running at `time`; None for none or several."""
        last = bisect_right(self.begins, time + SLACK)
        close: Call | None = None
        inside: Call | None = None
        for call in reversed(self.calls[max(last - _LOOK_BACK, 0) : last]):
            if call.end < time - SLACK or call.call not in words or call.outcome == "deferred":
                continue
            if call.begin <= time <= call.end:
                if inside is not None:
                    return None
                inside = call
            elif close is None:
                close = call
            else:
                close = None
                break
        return inside or close

    def byte(self, offset: int, time: int) -> Call | None:
        """The send that took stream byte `offset`, if it had begun by `time`."""
        if self.wrapped:
            return None
        place = bisect_right(self.sent, offset)
        if place < len(self.calls) and self.calls[place].begin <= time + SLACK:
            return self.calls[place]
        return None

    def last_before(self, time: int, words: tuple[str, ...]) -> Call | None:
        """The latest such call that had ended, when a single process used the socket."""
        found = None
        for call in self.calls[: bisect_right(self.begins, time)]:
            if call.process is not self.calls[0].process:
                return None
            if call.call in words and call.outcome == "ok" and call.end <= time:
                found = call
        return found


class Index:
    """Which socket has which ends since when, and what it called."""

    def __init__(self, calls: Iterable[Call] = ()) -> None:
        self.causes: dict[str, _Causes] = {}
        # (local port, remote end) -> [(when connect began, socket)], [(when accept ended, socket)]
        self.connected: dict[tuple[int, End], list[Since]] = {}
        self.accepted: dict[tuple[int, End], list[Since]] = {}
        # name -> [(since, socket)]: what only has a name
        self.bound: dict[End, list[Since]] = {}
        # where datagrams were sent to, and where a connect without a known name went -> the calls
        self.sendto: dict[End, list[Call]] = {}
        self.connecting: dict[End, list[Call]] = {}
        for call in calls:
            self.add(call)
        self.finish()

    def add(self, call: Call) -> None:
        """Take in one call; `finish` after the last one."""
        if call.socket is not None and call.socket.kind in _INET:
            self._add(call, call.socket)

    def finish(self) -> None:
        """Bring into order what was added."""
        for causes in self.causes.values():
            causes.finish()
        for known in (self.connected, self.accepted, self.bound):
            for entries in known.values():
                entries.sort(key=_TIME)
        for towards in (self.sendto, self.connecting):
            for calls_there in towards.values():
                calls_there.sort(key=_BEGIN)

    def _add(self, call: Call, socket: Socket) -> None:
        word = call.call
        if word in ("connect", "accepted", "adopt", "socketpair"):
            local, remote = end_of(socket.local), end_of(socket.remote)
            if local and remote:
                accepted = word == "accepted"
                known = self.accepted if accepted else self.connected
                entry = (call.end if accepted else call.begin, socket)
                known.setdefault((local[1], remote), []).append(entry)
        if word in ("bind", "listen", "connect") or (word == "adopt" and not socket.remote):
            local = end_of(socket.local)
            if local:
                self.bound.setdefault(local, []).append((call.begin, socket))
        if word in ("connect", "send", "close") or word.startswith("shutdown"):
            causes = self.causes.get(socket.identity)
            if causes is None:
                causes = self.causes[socket.identity] = _Causes()
            causes.calls.append(call)
            target = end_of(call.address)
            if target and word == "send":
                self.sendto.setdefault(target, []).append(call)
            elif target and word == "connect" and not (socket.local and socket.remote):
                self.connecting.setdefault(target, []).append(call)

    def sender(self, packet: Packet) -> Socket | None:
        """The traced socket that sends this first packet of its lane."""
        key = (packet.source[1], packet.target)
        connecting = _latest(self.connected.get(key, ()), packet.time + SLACK)
        if connecting is not None:
            return connecting[1]
        if packet.flags == "S":
            return self._refused(packet) or self.named(packet)
        # The kernel answers before accept gives the socket: it is the next one that accept gives.
        accepted = self.accepted.get(key)
        if accepted:
            place = bisect_left(accepted, packet.time - SLACK, key=_TIME)
            return accepted[min(place, len(accepted) - 1)][1]
        return self.named(packet)

    def receiver(self, packet: Packet) -> Socket | None:
        """The traced socket that a packet goes to: the one that would send the other way."""
        back = packet._replace(source=packet.target, target=packet.source, flags="SA")
        return self.sender(back)

    def listening(self, packet: Packet) -> Socket | None:
        """The socket that has the name to which a SYN goes."""
        return self._holder(packet.target, packet.time)

    def _refused(self, packet: Packet) -> Socket | None:
        """The socket of the one connect to there that was running, when the names are not known."""
        calls = self.connecting.get(packet.target, ())
        last = bisect_right(calls, packet.time + SLACK, key=_BEGIN)
        running = [
            c for c in calls[max(last - _LOOK_BACK, 0) : last] if packet.time <= c.end + SLACK
        ]
        return running[0].socket if len(running) == 1 else None

    def named(self, packet: Packet) -> Socket | None:
        """The socket that has the name from which a packet comes."""
        return self._holder(packet.source, packet.time)

    def _holder(self, name: End, time: int) -> Socket | None:
        """Whose name it is: the host has to agree, a wildcard's is any of its family."""
        host, port = name
        # `::` takes IPv4 too, unless IPV6_V6ONLY is set.
        hosts = (host, ANY6) if ":" in host else (host, ANY4, ANY6)
        found: Since | None = None
        for held in hosts:
            entry = _latest(self.bound.get((held, port), ()), time + SLACK)
            if entry is not None and (found is None or entry[0] > found[0]):
                found = entry
        return found[1] if found else None


class _Lane:
    """One direction of one connection: who sends, and from where its bytes count."""

    __slots__ = ("causes", "index", "isn", "known", "socket")

    def __init__(self, index: Index, packet: Packet) -> None:
        self.index = index
        self.known = "S" in packet.flags
        self.isn = packet.seq
        self._whose(packet)

    def _whose(self, packet: Packet) -> None:
        self.socket = self.index.sender(packet)
        self.causes = self.index.causes.get(self.socket.identity) if self.socket else None

    def cause(self, packet: Packet) -> Call | None:
        """The call behind a TCP packet that is no mere acknowledgement."""
        causes, time, flags = self.causes, packet.time, packet.flags
        if causes is None:
            return None
        if packet.length:
            found = causes.during(time, ("send",))
            if found is None and self.known:
                found = causes.byte((packet.seq - self.isn - 1) & 0xFFFFFFFF, time)
            return found
        if "S" in flags:
            return causes.during(time, ("connect",))
        if "F" in flags:
            return causes.during(time, _ENDING) or causes.last_before(time, _ENDING)
        if "R" in flags:
            return causes.during(time, ("close", "connect"))
        return None

    def datagram(self, packet: Packet) -> tuple[Socket | None, Call | None]:
        """Socket and call of a UDP datagram: a send to its target that runs at its time."""
        if self.socket is None:
            # It may have got a name since: by connect, after an unbound sendto.
            self._whose(packet)
        if self.causes is not None:
            found = self.causes.during(packet.time, ("send",))
            if found is not None:
                return self.socket, found
        sends = self.index.sendto.get(packet.target, [])
        last = bisect_right(sends, packet.time + SLACK, key=_BEGIN)
        for call in reversed(sends[max(last - _LOOK_BACK, 0) : last]):
            if packet.time <= call.end + SLACK and call.done == packet.length:
                return call.socket, call
        return self.socket, None


def _latest(entries: Sequence[Since], time: int) -> Since | None:
    place = bisect_right(entries, time, key=_TIME)
    return entries[place - 1] if place else None


def end_of(address: Address | None) -> End | None:
    """(host, port) as packets have it: an IPv4 address mapped into IPv6 is IPv4 on the wire."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    host, port = address[0], address[1]
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host, port
