"""Which packet ended which wait: the other half of the join of packets and calls.

A blocked connect ends by SYN-ACK or RST, recv by data, FIN or RST, send by an acknowledgement that
makes room. A blocked accept gets the SYN that began the connection that it gave (the kernel hands it
over when the opening is complete). A wait that no captured packet explains has none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from sockfsm.trace.events import Call, Packet, Socket
from sockfsm.trace.join import SLACK, End, Index, end_of

_WORDS = frozenset({"accept", "connect", "recv", "send"})
_LOOK_BACK = 8  # threads that may wait on one socket


class Wake(NamedTuple):
    """`packet` came while `call` was blocked, and is what it waited for."""

    packet: Packet
    call: Call


def wakes(calls: Iterable[Call], packets: Iterable[Packet]) -> Iterator[Wake]:
    """In the packets' order. Reads all calls first."""
    index, waits = Index(), Waits()
    for call in calls:
        index.add(call)
        waits.add(call)
    index.finish()
    waits.finish()
    waker = Waker(index, waits)
    for packet in packets:
        woken = waker.ends(packet)
        if woken is not None:
            yield Wake(packet, woken)


class Waits:
    """The calls that blocked for what a packet can bring, by their socket's identity."""

    def __init__(self) -> None:
        self.of: dict[str, list[Call]] = {}

    def add(self, call: Call) -> None:
        """Take in one call; `finish` after the last one."""
        if call.waited and call.socket is not None and call.call in _WORDS:
            self.of.setdefault(call.socket.identity, []).append(call)

    def finish(self) -> None:
        """Bring into order what was added."""
        for blocked in self.of.values():
            blocked.sort(key=attrgetter("begin"))


class Waker:
    """Asked packet by packet, in their order, which wait each of them ended."""

    def __init__(self, index: Index, waits: Waits) -> None:
        self._index = index
        self._waits = waits.of
        self._receivers: dict[tuple[End, End], Socket | None] = {}
        self._done: set[int] = set()

    def ends(self, packet: Packet) -> Call | None:
        """The blocked call that `packet` ended; None for none, or when it cannot be decided."""
        key = packet.source, packet.target
        receivers = self._receivers
        if key not in receivers or packet.flags == "S":
            receivers[key] = self._index.receiver(packet)
        receiver = receivers[key]
        if packet.flags == "S":
            receiver = self._index.listening(packet)
        found = _waiting(self._waits, receiver, packet, self._done)
        if found is not None:
            self._done.add(id(found))
        return found


def _waiting(
    waits: dict[str, list[Call]], socket: Socket | None, packet: Packet, done: set[int]
) -> Call | None:
    """The one call on `socket` that was blocked then and that this packet can end."""
    blocked = waits.get(socket.identity, ()) if socket is not None else ()
    last = bisect_right(blocked, packet.time + SLACK, key=attrgetter("begin"))
    found = None
    for call in blocked[max(last - _LOOK_BACK, 0) : last]:
        if call.end >= packet.time - SLACK and id(call) not in done and _ends(call, packet):
            if found is not None:
                return None
            found = call
    return found


def _ends(call: Call, packet: Packet) -> bool:
    flags, word = packet.flags, call.call
    if word == "accept":
        return flags == "S" and end_of(call.address) == packet.source
    if word == "connect":
        return flags == "SA" or "R" in flags
    if word == "recv":
        return packet.length > 0 or "F" in flags or "R" in flags or packet.protocol == "udp"
    return "R" in flags or (flags == "A" and packet.window > 0)
