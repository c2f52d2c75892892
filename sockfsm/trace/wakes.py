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
    waits, seen = _waits(calls)
    index = Index(seen)
    receivers: dict[tuple[End, End], Socket | None] = {}
    done: set[int] = set()
    for packet in packets:
        key = packet.source, packet.target
        if key not in receivers or packet.flags == "S":
            receivers[key] = index.receiver(packet)
        receiver = receivers[key]
        found = None
        if packet.flags == "S":
            listening = index.listening(packet)
            found = _waiting(waits, listening, packet, done)
        elif receiver is not None:
            found = _waiting(waits, receiver, packet, done)
        if found is not None:
            done.add(id(found))
            yield Wake(packet, found)


def _waits(calls: Iterable[Call]) -> tuple[dict[str, list[Call]], list[Call]]:
    waits: dict[str, list[Call]] = {}
    seen = []
    for call in calls:
        seen.append(call)
        if call.waited and call.socket is not None and call.call in _WORDS:
            waits.setdefault(call.socket.identity, []).append(call)
    for blocked in waits.values():
        blocked.sort(key=attrgetter("begin"))
    return waits, seen


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
