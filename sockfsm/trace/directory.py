"""Which traced socket had which name, and spoke to whom, at which time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter

from sockfsm.trace.causes import BEGIN, LOOK_BACK, SEVERAL, SLACK, Causes
from sockfsm.trace.events import Address, Call, Cause, Packet, Socket

ANY4, ANY6 = "0.0.0.0", "::"
UNKNOWN = ""  # a host that is not told: any fits
End = tuple[str, int]
Since = tuple[int, Socket]

NOT_TRACED = Cause("unknown", "sender not traced")

_INET = ("tcp", "udp")
_TIME = itemgetter(0)
_MOST_NAMELESS = 64  # sockets without a known name that are connected to the same end
_CAUSING = frozenset({"connect", "send", "close", "shutdown_wr", "shutdown_rdwr"})
_TELLING = frozenset({"connect", "accepted", "adopt", "socketpair", "bind", "listen"})


class Directory:
    """Which socket had which ends since when, and what it called.

    slack: how far, ns, a packet's time may be from that of its call.
    """

    def __init__(self, calls: Iterable[Call] = (), slack: int = SLACK) -> None:
        self.slack = slack
        self.causes: dict[str, Causes] = {}
        self._heard: dict[str, int] = {}
        # what told names, with those of the moment
        self._named: list[tuple[Call, Socket, End | None, End | None]] = []
        # (kind, local port, remote end) -> (when connect began, or accept ended, socket)
        self._connected: dict[tuple[str, int, End], list[Since]] = {}
        self._accepted: dict[tuple[str, int, End], list[Since]] = {}
        # (kind, name) -> (since, socket): what only has a name
        self._bound: dict[tuple[str, End], list[Since]] = {}
        # where datagrams without a known sender went, and connects without a known name -> the calls
        self._sendto: dict[End, list[Call]] = {}
        self._connecting: dict[End, list[Call]] = {}
        self._closed: dict[str, int] = {}  # identity -> when its last close ended
        for call in calls:
            self.add(call)
        self.finish()

    def add(self, call: Call) -> None:
        """Take in one call, in the order of their ends; `finish` after the last one."""
        socket, word, log = call.socket, call.call, call.process.log
        self._heard[log] = call.end
        if socket is None or socket.kind not in _INET:
            return
        identity = socket.identity
        causes = self.causes.get(identity)
        if causes is None:
            causes = self.causes[identity] = Causes(self._heard, self.slack)
        if log not in causes.processes:
            causes.processes[log] = call.process
        if word == "recv":
            if call.done > 0:
                causes.read += call.done
        elif word in _CAUSING:
            causes.add(call)
            if call.address is not None:
                self._towards(call, socket)
            elif word == "close" and call.outcome == "ok":
                self._closed[identity] = call.end
                return
        if word in _TELLING:
            self._named.append((call, socket, end_of(socket.local), end_of(socket.remote)))
        if identity in self._closed:
            if call.begin < self._closed[identity]:
                causes.outlasted = call.end
            else:
                del self._closed[identity]

    def finish(self) -> None:
        """Bring into order what was added."""
        for told in self._named:
            self._names(told)
        self._named.clear()
        for causes in self.causes.values():
            causes.finish()
        for known in (self._connected, self._accepted, self._bound):
            for entries in known.values():
                entries.sort(key=_TIME)
        for towards in (self._sendto, self._connecting):
            for calls in towards.values():
                calls.sort(key=BEGIN)

    def _towards(self, call: Call, socket: Socket) -> None:
        target = end_of(call.address)
        if target and not (target[0][:1].isdigit() or ":" in target[0]):
            target = "", target[1]  # a name of the resolver, or ''
        if target and call.call == "send":
            self._sendto.setdefault(target, []).append(call)
        elif target and call.call == "connect" and not (socket.local and socket.remote):
            self._connecting.setdefault(target, []).append(call)

    def _names(self, told: tuple[Call, Socket, End | None, End | None]) -> None:
        call, socket, local, remote = told
        word, kind = call.call, socket.kind
        # The log may tell a name only after the call that gave it.
        local = local if local and local[0] and local[1] else end_of(socket.local)
        if local and remote and word not in ("bind", "listen"):
            accepted = word == "accepted"
            known = self._accepted if accepted else self._connected
            entry = (call.end if accepted else call.begin, socket)
            for far in (remote, (UNKNOWN, remote[1])):
                known.setdefault((kind, local[1], far), []).append(entry)
        took = word == "connect" or (word in ("bind", "listen") and call.outcome == "ok")
        if local and (took or (word == "adopt" and not remote)):
            for name in (local, (UNKNOWN, local[1])):
                self._bound.setdefault((kind, name), []).append((call.begin, socket))

    def sender(self, packet: Packet) -> Socket | None:
        """The traced socket that a packet comes from, the first one between its ends."""
        opens = "S" in packet.flags
        asks = opens and "A" not in packet.flags
        return self.owner(
            packet.protocol, packet.source, packet.target, packet.time, opens=opens, asks=asks
        )

    def receiver(self, packet: Packet) -> Socket | None:
        """The traced socket that a packet goes to: the one that would send the other way."""
        opens = "S" in packet.flags
        if opens and "A" not in packet.flags:
            listening = self.named(packet.protocol, packet.target, packet.time)
            if listening is not None:
                return listening
        return self.owner(packet.protocol, packet.target, packet.source, packet.time, opens=opens)

    def owner(
        self,
        kind: str,
        near: End,
        far: End,
        time: int,
        *,
        opens: bool = False,
        asks: bool = False,
        connected: bool = False,
    ) -> Socket | None:
        """The traced socket at `near` that spoke to `far` at `time`.

        opens: a connection begins then, so a closed socket is not meant. asks: by a SYN of `near`.
        connected: not the one that listens there, for others.
        """
        key = kind, near[1], far
        connecting = self._latest(self._connected.get(key, ()), time, opens)
        if connecting is not None:
            return connecting[1]
        if asks and (refused := self._refused(far, time)) is not None:
            return refused
        accepted = self._accepted.get(key)
        if accepted:
            place = bisect_left(accepted, time - self.slack, key=_TIME)
            if opens or not place:
                # The kernel answers before accept gives the socket: it is the next one given.
                place = min(place, len(accepted) - 1)
            else:
                place -= 1
            return accepted[place][1]
        return None if connected else self.named(kind, near, time)

    def sendto(self, packet: Packet) -> Cause:
        """The send of a datagram whose sender has no name known."""
        found = [
            Cause("call", "", (call,))
            for target in (packet.target, ("", packet.target[1]))
            for call in self._running(self._sendto.get(target, []), packet.time)
            if call.done == packet.length
        ]
        for call in self._connecting.get(packet.target, [])[-_MOST_NAMELESS:]:
            if call.socket is not None and call.socket.kind == "udp":
                sent = self.causes[call.socket.identity].datagram(packet.length, packet.time)
                if sent.calls and sent not in found:
                    found.append(sent)
        return found[0] if len(found) == 1 else SEVERAL if found else NOT_TRACED

    def _refused(self, target: End, time: int) -> Socket | None:
        """The socket of the one connect to there that was running, when the names are not known."""
        running = self._running(self._connecting.get(target, []), time)
        return running[0].socket if len(running) == 1 else None

    def named(self, kind: str, name: End, time: int) -> Socket | None:
        """The socket that has a name: the host has to agree, a wildcard's is any of its family."""
        host, port = name
        # `::` takes IPv4 too, unless IPV6_V6ONLY is set.
        hosts = (host, ANY6) if ":" in host else (host, ANY4, ANY6) if host else (UNKNOWN,)
        found: Since | None = None
        for held in hosts:
            entry = self._latest(self._bound.get((kind, (held, port)), ()), time, True)
            if entry is not None and (found is None or entry[0] > found[0]):
                found = entry
        return found[1] if found else None

    def gave(self, server: End, client: End, since: int) -> bool:
        """Whether an accept gave the connection between these ends, at `since` or later."""
        accepted = self._accepted.get(("tcp", server[1], client))
        return accepted is not None and accepted[-1][0] >= since

    def closed(self, socket: Socket) -> bool:
        """Whether the program closed the socket."""
        return socket.identity in self._closed

    def _latest(self, entries: Sequence[Since], time: int, opens: bool) -> Since | None:
        """The last entry before `time`; not a closed socket's, where a connection begins."""
        place = bisect_right(entries, time + self.slack, key=_TIME)
        if not place:
            return None
        entry = entries[place - 1]
        closed = self._closed.get(entry[1].identity) if opens else None
        return entry if closed is None or time <= closed + self.slack else None

    def _running(self, calls: list[Call], time: int) -> list[Call]:
        last = bisect_right(calls, time + self.slack, key=BEGIN)
        near = calls[max(last - LOOK_BACK, 0) : last]
        return [call for call in near if time <= call.end + self.slack]


def end_of(address: Address | None) -> End | None:
    """(host, port) as packets have it: an IPv4 address mapped into IPv6 is IPv4 on the wire."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    host, port = address[0], address[1]
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host, port
