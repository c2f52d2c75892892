"""Which traced socket had which address, and which peer, at which time.

Ports are used again within milliseconds, so every answer depends on the time that is asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter

from sockfsm.events import Address, Call, Cause, Endpoint, Packet, Socket
from sockfsm.trace.causes import BEGIN, LOOK_BACK, SEVERAL, SLACK, Causes

ANY4, ANY6 = "0.0.0.0", "::"
UNKNOWN = ""  # stands for a host that is not known: any fits
Since = tuple[int, Socket]

NOT_TRACED = Cause("unknown", "sender not traced")

_INET = ("tcp", "udp")
_TIME = itemgetter(0)
# The most sockets without a known name and with the same peer that are searched for one datagram.
_MOST_NAMELESS = 64
_CAUSING = frozenset({"connect", "send", "close", "shutdown_wr", "shutdown_rdwr"})
_NAMING = frozenset({"connect", "accepted", "adopt", "socketpair", "bind", "listen"})


class Directory:
    """Finds the traced socket behind an address and a time. `causes` has the calls of each.

    slack: how far, in ns, a packet's time may be from the time of its call.
    """

    def __init__(self, calls: Iterable[Call] = (), slack: int = SLACK) -> None:
        self.slack = slack
        self.causes: dict[str, Causes] = {}
        self._heard: dict[str, int] = {}
        # Calls that name a socket, with (local, remote) as they were known then.
        self._named: list[tuple[Call, Socket, Endpoint | None, Endpoint | None]] = []
        # (kind, local port, remote endpoint) -> (when connect began or accept ended, socket).
        # The local host is left out: an accepted socket may only know its listener's wildcard.
        self._connected: dict[tuple[str, int, Endpoint], list[Since]] = {}
        self._accepted: dict[tuple[str, int, Endpoint], list[Since]] = {}
        # (kind, local endpoint) -> (since when, socket)
        self._bound: dict[tuple[str, Endpoint], list[Since]] = {}
        # Target -> the sends, and the connects, of sockets whose own address is not known.
        self._sendto: dict[Endpoint, list[Call]] = {}
        self._connecting: dict[Endpoint, list[Call]] = {}
        self._closed: dict[str, int] = {}  # identity -> when its last close ended
        for call in calls:
            self.add(call)
        self.finish()

    def add(self, call: Call) -> None:
        """Add one call. Add them in the order of their ends, then call `finish`."""
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
        if word == "recv" and call.done > 0:
            causes.read += call.done
        elif word in _CAUSING:
            causes.add(call)
            if call.address is not None:
                self._towards(call, socket)
            elif word == "close" and call.outcome == "ok":
                self._closed[identity] = call.end
                return
        if word in _NAMING:
            self._named.append((call, socket, end_of(socket.local), end_of(socket.remote)))
        if identity in self._closed:
            self._used_after_close(call, identity)

    def _used_after_close(self, call: Call, identity: str) -> None:
        # A call that began before the close and ended after it keeps the kernel's socket alive. A later
        # one means that the socket was not closed for good: another process holds it.
        if call.begin < self._closed[identity]:
            self.causes[identity].outlasted = call.end
        else:
            del self._closed[identity]

    def finish(self) -> None:
        """Sort what was added, and file each socket under its addresses."""
        for call, socket, local, remote in self._named:
            self._file(call, socket, local, remote)
        self._named.clear()
        for causes in self.causes.values():
            causes.finish()
        for table in (self._connected, self._accepted, self._bound):
            for entries in table.values():
                entries.sort(key=_TIME)
        for by_target in (self._sendto, self._connecting):
            for calls in by_target.values():
                calls.sort(key=BEGIN)

    def _towards(self, call: Call, socket: Socket) -> None:
        target = end_of(call.address)
        if target and not _numeric(target[0]):
            target = UNKNOWN, target[1]  # a host name, such as `localhost`, or ''
        if target and call.call == "send":
            self._sendto.setdefault(target, []).append(call)
        elif target and call.call == "connect" and not (socket.local and socket.remote):
            self._connecting.setdefault(target, []).append(call)

    def _file(
        self, call: Call, socket: Socket, local: Endpoint | None, remote: Endpoint | None
    ) -> None:
        word, kind = call.call, socket.kind
        # The log may note an address only after the call that assigned it.
        local = local if local and local[0] and local[1] else end_of(socket.local)
        if remote and not _numeric(remote[0]):
            remote = end_of(socket.remote)
        if local and remote and word not in ("bind", "listen"):
            accepted = word == "accepted"
            table = self._accepted if accepted else self._connected
            entry = (call.end if accepted else call.begin, socket)
            for far in (remote, (UNKNOWN, remote[1])):
                table.setdefault((kind, local[1], far), []).append(entry)
        assigned = word == "connect" or (word in ("bind", "listen") and call.outcome == "ok")
        if local and (assigned or (word == "adopt" and not remote)):
            for name in (local, (UNKNOWN, local[1])):
                self._bound.setdefault((kind, name), []).append((call.begin, socket))

    def sender(self, packet: Packet) -> Socket | None:
        """The traced socket that sent a packet; None where it is not traced."""
        opens = "S" in packet.flags
        asks = opens and "A" not in packet.flags
        return self.owner(
            packet.protocol, packet.source, packet.target, packet.time, opens=opens, asks=asks
        )

    def receiver(self, packet: Packet) -> Socket | None:
        """The traced socket that gets a packet; None where it is not traced."""
        opens = "S" in packet.flags
        if opens and "A" not in packet.flags:
            # The listening socket answers a SYN; no data socket exists yet.
            listening = self.named(packet.protocol, packet.target, packet.time)
            if listening is not None:
                return listening
        return self.owner(packet.protocol, packet.target, packet.source, packet.time, opens=opens)

    def owner(
        self,
        kind: str,
        near: Endpoint,
        far: Endpoint,
        time: int,
        *,
        opens: bool = False,
        asks: bool = False,
        connected: bool = False,
    ) -> Socket | None:
        """The traced socket at `near` whose peer was `far` at `time`; None where there is none.

        opens: a connection begins at that time, so a socket that was closed before cannot be meant.
        asks: it begins with a SYN from `near`. connected: leave out the listening socket at `near`.
        """
        key = kind, near[1], far
        connecting = self._latest(self._connected.get(key, ()), time, opens)
        connecting = connecting or self._by_name(kind, near[1], far[1], time, opens)
        if connecting is not None:
            return connecting[1]
        if asks and (refused := self._refused(far, time)) is not None:
            return refused
        accepted = self._accepted.get(key)
        if accepted:
            place = bisect_left(accepted, time - self.slack, key=_TIME)
            if opens or not place:
                # The kernel answers before accept returns the socket: it is the next one returned.
                place = min(place, len(accepted) - 1)
            else:
                place -= 1
            return accepted[place][1]
        return None if connected else self.named(kind, near, time)

    def _by_name(self, kind: str, near: int, far: int, time: int, opens: bool) -> Since | None:
        """The socket between two ports that was connected to a host's name, such as `localhost`."""
        found = self._latest(self._connected.get((kind, near, (UNKNOWN, far)), ()), time, opens)
        remote = end_of(found[1].remote) if found is not None else None
        return found if remote is not None and not _numeric(remote[0]) else None

    def sendto(self, packet: Packet) -> Cause:
        """The send behind a datagram whose sender's address is not known."""
        causes = [
            Cause("call", "", (call,))
            for target in (packet.target, (UNKNOWN, packet.target[1]))
            for call in self._running(self._sendto.get(target, []), packet.time)
            if call.done == packet.length
        ]
        for call in self._connecting.get(packet.target, [])[-_MOST_NAMELESS:]:
            if call.socket is not None and call.socket.kind == "udp":
                cause = self.causes[call.socket.identity].datagram(packet.length, packet.time)
                if cause.calls and cause not in causes:
                    causes.append(cause)
        return causes[0] if len(causes) == 1 else SEVERAL if causes else NOT_TRACED

    def _refused(self, target: Endpoint, time: int) -> Socket | None:
        """The socket whose connect to `target` was running, where exactly one was.

        A refused connect never gets a local address that the log could note.
        """
        running = [
            call
            for end in (target, (UNKNOWN, target[1]))  # a host's name stands for any address
            for call in self._running(self._connecting.get(end, []), time)
        ]
        return running[0].socket if len(running) == 1 else None

    def named(self, kind: str, name: Endpoint, time: int) -> Socket | None:
        """The socket bound to `name` at `time`; a wildcard address matches every host of its family."""
        host, port = name
        # `::` takes IPv4 too, unless IPV6_V6ONLY is set.
        hosts = (host, ANY6) if ":" in host else (host, ANY4, ANY6) if host else (UNKNOWN,)
        latest: Since | None = None
        for each in hosts:
            entry = self._latest(self._bound.get((kind, (each, port)), ()), time, True)
            if entry is not None and (latest is None or entry[0] > latest[0]):
                latest = entry
        return latest[1] if latest else None

    def was_accepted(self, server: Endpoint, client: Endpoint, since: int) -> bool:
        """Whether an accept returned the connection of these two, at `since` or later."""
        accepted = self._accepted.get(("tcp", server[1], client))
        return accepted is not None and accepted[-1][0] >= since

    def closed(self, socket: Socket) -> bool:
        """Whether the program closed the socket."""
        return socket.identity in self._closed

    def _latest(self, entries: Sequence[Since], time: int, opens: bool) -> Since | None:
        """The last entry before `time`. opens: leave out a socket that was closed by then."""
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


def _numeric(host: str) -> bool:
    return host[:1].isdigit() or ":" in host


def end_of(address: Address | None) -> Endpoint | None:
    """The endpoint of an address as packets have it; None for one that is not INET or INET6.

    A scope id is dropped. An IPv4 address mapped into IPv6 is plain IPv4 on the wire.
    """
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    host, port = address[0], address[1]
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host, port
