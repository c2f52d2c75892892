"""Packets joined with the calls that caused them.

By connection: the packet's ends are those of a traced socket. By its bytes and by time: `causes`.
SYN comes from connect, data from send, FIN from close or shutdown, RST from close. The kernel sends
acknowledgements, SYN-ACKs, probes and everything a second time on its own (RFC 9293, 3.8). What
cannot be decided is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sockfsm.trace.causes import NONE_FITS, PROCESS_ENDED, UNCOUNTED, Causes
from sockfsm.trace.events import Call, Cause, Packet, Socket
from sockfsm.trace.index import NOT_TRACED, End, Index

ACKNOWLEDGES = Cause("kernel", "acknowledgement")
SYN_ACK = Cause("kernel", "SYN-ACK")
UPDATES = Cause("kernel", "window update")
PROBES = Cause("kernel", "window probe")
KEEPS_ALIVE = Cause("kernel", "keep-alive")
NO_LISTENER = Cause("kernel", "no listener")
NO_SOCKET = Cause("kernel", "no socket left")
UNACCEPTABLE = Cause("kernel", "bad acknowledgement")
AGAIN = "retransmission"

_PLAIN = frozenset({"A", "PA"})
_new = tuple.__new__
_MODULO, _HALF = 1 << 32, 1 << 31
_MOST_HOLES = 32


def join(calls: Iterable[Call], packets: Iterable[Packet]) -> Iterator[Packet]:
    """The packets in their order, with `socket` where it is known and with `cause`.

    Reads all calls first and keeps those that can cause a packet; the packets are streamed.
    """
    return joined(Index(calls), packets)


def joined(index: Index, packets: Iterable[Packet]) -> Iterator[Packet]:
    """The same, with the calls read already."""
    lanes: dict[tuple[End, End], _Lane] = {}
    talks: dict[tuple[End, End], _Talk] = {}
    for packet in packets:
        time, wall, protocol, source, target, flags, seq, ack, window, length, raw, link, *_ = (
            packet
        )
        key = source, target
        if protocol == "udp":
            talk = talks.get(key)
            if talk is None:
                talk = talks[key] = _Talk(index)
            socket, cause = talk.told(packet)
        else:
            lane = lanes.get(key)
            if lane is None or (flags != "A" and "S" in flags and seq != lane.isn):
                back = lanes.get((target, source))
                if lane is not None and back is not None:
                    # The ports are used again: another connection, other sockets.
                    del lanes[target, source]
                    back = None
                lane = lanes[key] = _Lane(index, packet, back)
            socket, cause = lane.socket, lane.cause(packet)
        yield _new(
            Packet,
            (
                time, wall, protocol, source, target, flags, seq, ack, window, length, raw, link,
                socket, cause,
            ),
        )  # fmt: skip


class _Lane:
    """One direction of one TCP connection: who sends, and how far its bytes have come."""

    __slots__ = (
        "acked", "answered", "back", "causes", "counted", "fin", "holes", "isn", "next", "offset",
        "sent", "socket", "syn", "window",
    )  # fmt: skip

    def __init__(self, index: Index, packet: Packet, back: _Lane | None) -> None:
        self.socket: Socket | None = index.sender(packet)
        self.causes: Causes | None = None
        if self.socket is not None:
            self.causes = index.causes.get(self.socket.identity) or Causes({})
        self.back = back  # the other direction
        if back is not None and back.back is None:
            back.back = self
        self.isn = packet.seq if "S" in packet.flags else None
        self.counted = self.isn is not None  # offsets are those of the stream
        self.next = packet.seq  # the sequence number that follows the highest one sent
        self.offset = 0  # what `next` is in the stream
        self.holes: list[tuple[int, int]] = []  # offsets that were passed over
        self.syn: Cause | None = None
        self.answered = False  # it has sent a SYN-ACK
        self.fin: tuple[int, Cause] | None = None
        self.acked = self.window = -1
        self.sent = 0  # when it sent data last

    def cause(self, packet: Packet) -> Cause:
        """Why the packet was sent; takes note of it."""
        flags, seq, length = packet.flags, packet.seq, packet.length
        acked, window = self.acked, self.window
        self.acked, self.window = packet.ack, packet.window
        if not length and flags == "A":
            if seq != self.next and (seq - self.next) % _MODULO == _MODULO - 1:
                return PROBES if self.back is not None and not self.back.window else KEEPS_ALIVE
            return UPDATES if acked == packet.ack and window != packet.window else ACKNOWLEDGES
        if length and seq == self.next and flags in _PLAIN and self.counted:
            # Nearly all others: the next bytes of the stream.
            start = self.offset
            self.offset, self.next = start + length, (seq + length) % _MODULO
            self.sent = packet.time
            if self.causes is not None:
                found = self.causes.of_bytes(start, start + length, packet.time)
                if found is not None:
                    return found
            return self._at_that_time(packet.time)
        return self._asked(packet)

    def _asked(self, packet: Packet) -> Cause:
        flags, time = packet.flags, packet.time
        if "R" in flags:
            return self._reset(packet)
        if "S" in flags:
            return self._opening(packet)
        if "A" not in flags:
            # Its receiver drops it: RFC 9293, 3.10.7.4. It is no part of the stream.
            return self._at_that_time(time)
        start = self.offset + ((packet.seq - self.next + _HALF) % _MODULO) - _HALF
        end = start + packet.length
        if "F" in flags:
            return self._ending(packet, start, end)
        if not packet.length:
            return ACKNOWLEDGES  # with ECE, CWR or URG
        if packet.length == 1 and end == self.offset and self.back and not self.back.window:
            return PROBES
        found = self._data(start, end, time)
        self._passed(start, end, packet.seq + packet.length)
        self.sent = time
        return found

    def _ending(self, packet: Packet, start: int, end: int) -> Cause:
        """Who asked for a FIN, and before that for the bytes with it."""
        data = self._data(start, end, packet.time) if packet.length else None
        calls = data.calls if data is not None else ()
        if self.fin is not None and self.fin[0] == end:
            return Cause("kernel", AGAIN, calls + self.fin[1].calls)
        ending = NOT_TRACED
        if self.causes is not None:
            ending = self.causes.ending(packet.time, packet.time if data else self.sent)
        self.fin = end, ending
        self._passed(start, end + 1, packet.seq + packet.length + 1)
        if data is None or data.who == "kernel" or ending.who == "unknown":
            return ending
        if data.who == "unknown":
            return data
        return Cause(ending.who, ending.why, calls + ending.calls)

    def _data(self, start: int, end: int, time: int) -> Cause:
        """The sends behind the stream's bytes from `start` to `end`."""
        causes, again = self.causes, end <= self.offset and not self._fills(start, end)
        if not again and start < self.offset and not self.holes:
            start = self.offset  # what comes before was there already
        found = None
        if causes is not None and self.counted:
            found = causes.of_bytes(start, end, time)
        if again:
            return Cause("kernel", AGAIN, found.calls if found is not None else ())
        return found if found is not None else self._at_that_time(time)

    def _at_that_time(self, time: int) -> Cause:
        """The send that ran then, where bytes do not tell it."""
        if self.causes is None:
            return NOT_TRACED
        found = self.causes.sending(time)
        return UNCOUNTED if found is NONE_FITS else found

    def _passed(self, start: int, offset: int, following: int) -> None:
        """A segment from `start` on goes as far as `offset`, the sequence number `following`."""
        if start > self.offset and len(self.holes) < _MOST_HOLES:
            self.holes.append((self.offset, start))
        if offset > self.offset:
            self.offset, self.next = offset, following % _MODULO

    def _fills(self, start: int, end: int) -> bool:
        """Whether a segment brings what was passed over: lost before it could be captured."""
        for place, (first, last) in enumerate(self.holes):
            if start < last and end > first:
                rest = [(first, max(start, first)), (min(end, last), last)]
                self.holes[place : place + 1] = [(a, b) for a, b in rest if a < b]
                return True
        return False

    def _opening(self, packet: Packet) -> Cause:
        self.acked = -1  # its window counts otherwise than all later ones: not scaled
        if self.syn is None:
            self.offset, self.next = packet.length, (packet.seq + 1 + packet.length) % _MODULO
        if "A" in packet.flags:
            again, self.answered = self.answered, True
            self.syn = self.syn or SYN_ACK
            return Cause("kernel", AGAIN) if again else SYN_ACK
        if self.syn is not None:
            return Cause("kernel", AGAIN, self.syn.calls)
        self.syn = NOT_TRACED if self.causes is None else self.causes.opening(packet.time)
        return self.syn

    def _reset(self, packet: Packet) -> Cause:
        if "A" not in packet.flags and self.causes is not None:
            # RFC 9293, 3.10.7: its number is what the answered segment acknowledged.
            return NO_SOCKET if packet.seq == self.next else UNACCEPTABLE
        back = self.back
        if self.syn is None and back is not None and back.syn and packet.ack == back.next:
            return NO_LISTENER
        if self.causes is None:
            return NOT_TRACED
        found = self.causes.running(packet.time, ("close", "connect"))
        if found is NONE_FITS and self.causes.gone(packet.time):
            return PROCESS_ENDED
        return found


class _Talk:
    """Datagrams from one end to another."""

    __slots__ = ("causes", "index", "socket")

    def __init__(self, index: Index) -> None:
        self.index = index
        self.socket: Socket | None = None
        self.causes: Causes | None = None

    def told(self, packet: Packet) -> tuple[Socket | None, Cause]:
        """Socket and call of a datagram: a send that runs at its time."""
        found = NONE_FITS
        if self.causes is not None:
            found = self.causes.datagram(packet.length, packet.time)
        if found is NONE_FITS:
            # The name may be another socket's now, or it got it after an unbound sendto.
            self.socket = self.index.sender(packet)
            if self.socket is None:
                found = self.index.sendto(packet)
                if not found.calls:
                    return None, found
                self.socket = found.calls[0].socket
                assert self.socket is not None
            self.causes = self.index.causes.get(self.socket.identity)
            if self.causes is not None and found is NONE_FITS:
                found = self.causes.datagram(packet.length, packet.time)
        return self.socket, found
