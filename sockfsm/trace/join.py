"""Joins packets with the calls of both ends: the one annotated stream that all views read.

`directory` finds the sockets by address and time; `causes` finds the call by bytes and time. A SYN
comes from connect, data from send, FIN from close or shutdown, RST from close. Acknowledgements,
SYN-ACKs, probes and retransmissions are the kernel's own (RFC 9293, 3.8). Where the cause cannot be
decided, it is `unknown`, with the reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from sockfsm.events import Call, Cause, Endpoint, Packet, Socket
from sockfsm.trace.causes import NONE_FITS, PROCESS_ENDED, STEP, UNCOUNTED, Causes
from sockfsm.trace.directory import NOT_TRACED, Directory
from sockfsm.trace.tcp_path import SegmentStep, walk
from sockfsm.trace.wakes import Blocked, Waits
from sockfsm.wire import flow as wire
from sockfsm.wire.flow import Flow, SegmentRole
from sockfsm.wire.flows import Flows
from sockfsm.wire.handshake import connection
from sockfsm.wire.sequence import MASK
from sockfsm.wire.side import Side, Span

ACKNOWLEDGES = Cause("kernel", "acknowledgement")
SYN_ACK = Cause("kernel", "SYN-ACK")
UPDATES = Cause("kernel", "window update")
PROBES = Cause("kernel", "window probe")
KEEPS_ALIVE = Cause("kernel", "keep-alive")
NO_LISTENER = Cause("kernel", "no listener")
NO_SOCKET = Cause("kernel", "no socket left")
BAD_ACKNOWLEDGEMENT = Cause("kernel", "bad acknowledgement")
AGAIN = "retransmission"

LOOKAHEAD = 4096
"""The most packets held back. Only later packets show whether a segment arrived or was ignored."""

_PLAIN = frozenset({"A", "PA"})
_OF_ITSELF = {
    wire.ACK: ACKNOWLEDGES,
    wire.WINDOW_UPDATE: UPDATES,
    wire.WINDOW_PROBE: PROBES,
    wire.KEEP_ALIVE: KEEPS_ALIVE,
}
_new = tuple.__new__


def join(calls: Iterable[Call], packets: Iterable[Packet]) -> Iterator[Packet]:
    """Yield the packets in their order, with what their connections and the calls say of them.

    All calls are read first; those that can cause a packet, or waited, are kept. Packets are streamed.
    """
    directory, waits = Directory(), Waits()
    for call in calls:
        directory.add(call)
        waits.add(call)
    directory.finish()
    waits.finish()
    return Join(directory, waits).packets(packets)


class Join:
    """Joins the packets of one trace. `flows` has the connections of the packets read so far."""

    def __init__(self, directory: Directory, waits: Waits) -> None:
        self.flows = Flows()
        self.directory = directory
        self._waits = waits
        self._blocked: dict[str, Blocked] = {}
        self._lanes: dict[tuple[Endpoint, Endpoint], _Lane] = {}
        self._senders: dict[tuple[Endpoint, Endpoint], _DatagramSender] = {}
        self._steps: dict[Flow, tuple[int, dict[int, SegmentStep]]] = {}

    # All in one loop: a call for each packet would add a second to each million.
    def packets(self, packets: Iterable[Packet]) -> Iterator[Packet]:  # noqa: C901
        """Yield the annotated packets in their order. Some are held back for a while."""
        held: deque[Packet | tuple[Packet, Packet, Flow]] = deque()
        add, take, lanes = held.append, held.popleft, self._lanes
        for packet in packets:
            (
                time, wall, protocol, source, target, flags, seq, ack, window, length, raw, link,
                _, _, _, _, _, _, _,
            ) = packet  # fmt: skip
            flow = None  # set for a packet of an opening or a closing
            relative: tuple[int, int | None] = (0, None)
            if protocol == "udp":
                socket, cause, receiver = self._datagram(packet)
                blocked = self.blocked(receiver)
            else:
                lane = lanes.get((source, target))
                if (
                    lane is not None
                    and lane.flow.quiet
                    and (side := lane.side).next == seq
                    and flags in _PLAIN
                    and window
                    and side.window
                ):
                    # The fast path, which nearly all packets take: the next plain segment of an
                    # established connection. `Flows.add_frames` counts in the same way.
                    side.packets += 1
                    lane.flow.end = time
                    if length:
                        start = side.offset
                        side.segments += 1
                        side.bytes += length
                        side.offset = start + length
                        side.next = seq + length & MASK
                        side.last_data = time
                        if side.first_data is None:
                            side.first_data = time
                        lane.sent = time
                        by_bytes = None
                        if lane.counted is not None:
                            by_bytes = lane.counted.of_bytes(start, start + length, time)
                        cause = by_bytes or lane.at_that_time(time)
                        blocked = lane.blocked
                    else:
                        updates = side.acked == ack and window != side.window > 0 and flags == "A"
                        cause = UPDATES if updates else ACKNOWLEDGES
                        blocked = None
                    side.acked, side.window = ack, window
                    receiver = lane.receiver
                    relative = seq - lane.first & MASK, ack - lane.last & MASK
                else:
                    lane, cause, receiver, blocked = self._segment(packet)
                    relative = lane.relative(packet)
                    if lane.flow.keeps(packet):
                        flow = lane.flow
                        flow.causes[id(packet)] = cause
                socket = lane.socket
            ended = None
            if blocked is not None and (length or flags not in _PLAIN):
                ended = blocked.ended_by(packet)
            joined = _new(
                Packet,
                (
                    time, wall, protocol, source, target, flags, seq, ack, window, length, raw, link,
                    socket, cause, receiver, relative, None, False, ended,
                ),
            )  # fmt: skip
            add(joined if flow is None else (joined, packet, flow))
            if len(held) > LOOKAHEAD:
                oldest = take()
                yield oldest if type(oldest) is Packet else self._settled(*oldest)
        for last in held:
            yield last if type(last) is Packet else self._settled(*last)

    def _settled(self, joined: Packet, captured: Packet, flow: Flow) -> Packet:
        """A packet of an opening or closing with the TCP states that follow from it."""
        flow = flow.absorbed or flow
        # Walking the states again is only worth it when the connection has got new segments.
        known = len(flow.opening) + len(flow.closing) + len(flow.unacceptable)
        count, steps = self._steps.get(flow, (0, {}))
        if count != known:
            steps = {id(step.segment.packet): step for step in walk(connection(flow, 0)).steps}
            # Bounds the memory: the packets that are held back belong to no more flows than that.
            if len(self._steps) > LOOKAHEAD:
                self._steps.clear()
            self._steps[flow] = known, steps
        step = steps.get(id(captured))
        if step is None:
            return joined
        return joined._replace(states=step.states, ignored=step.ignored)

    def blocked(self, socket: Socket | None) -> Blocked | None:
        """The calls blocked on a socket that no packet has ended yet."""
        if socket is None or self.directory.slack > STEP:
            return None  # with a clock that was set, any wait would fit any packet
        calls = self._waits.of.get(socket.identity)
        if calls is None:
            return None
        blocked = self._blocked.get(socket.identity)
        if blocked is None:
            blocked = self._blocked[socket.identity] = Blocked(calls, self.directory.slack)
        return blocked

    def _segment(self, packet: Packet) -> tuple[_Lane, Cause, Socket | None, Blocked | None]:
        """A segment that is not on the fast path: its direction, cause, receiver and waits."""
        flow, side, other, role = self.flows.add(packet)
        directory, key = self.directory, (packet.source, packet.target)
        lane = self._lanes.get(key)
        if lane is None or lane.side is not side:
            # The flow has changed: a SYN began another one on these ports, or that SYN has turned
            # out to be unacceptable and the flow before goes on, with the lane that it had.
            displaced = lane
            if displaced is not None and displaced.before is not None:
                lane = displaced.before  # what an unacceptable SYN seemed to end
            if lane is None or lane.side is not side:
                before = displaced if displaced and flow.before is displaced.flow else None
                lane = _Lane(directory, packet, flow, side, other, before)
            self._lanes[key] = lane
        back = self._lanes.get((packet.target, packet.source))
        if back is not None and back.flow is not flow:
            back = None
        cause = lane.cause(packet, role, back)
        if role.kind == wire.SYN:
            receiver = directory.receiver(packet)
            if receiver is None and back is not None:
                # Nobody listens, but the other end sent a SYN as well: a simultaneous open.
                receiver = back.socket  # it connects, too
            return lane, cause, receiver, self.blocked(receiver)
        if not lane.met:
            lane.met = True
            lane.receiver = back.socket if back is not None else directory.receiver(packet)
            lane.blocked = self.blocked(lane.receiver)
        # What its receiver ignores wakes nobody.
        taken = lane.blocked if role.kind != wire.UNACCEPTABLE else None
        return lane, cause, lane.receiver, taken

    def _datagram(self, packet: Packet) -> tuple[Socket | None, Cause, Socket | None]:
        """Sender, cause and receiver of a datagram. They may differ from those of the last one."""
        self.flows.datagram(packet)
        key = packet.source, packet.target
        sender = self._senders.get(key)
        if sender is None:
            sender = self._senders[key] = _DatagramSender(self.directory)
        socket, cause = sender.of(packet)
        receiver = self.directory.receiver(packet)
        if receiver is None:
            back = self._senders.get((packet.target, packet.source))
            receiver = back.socket if back is not None else None
        return socket, cause, receiver


class _Lane:
    """One direction of one TCP connection: who sends, who receives, and why."""

    __slots__ = (
        "before", "blocked", "causes", "counted", "fin", "first", "flow", "last", "met", "other",
        "receiver", "sent", "side", "socket", "syn",
    )  # fmt: skip

    def __init__(
        self,
        directory: Directory,
        packet: Packet,
        flow: Flow,
        side: Side,
        other: Side,
        before: _Lane | None,
    ) -> None:
        self.flow, self.side, self.other = flow, side, other
        self.before = before  # the open connection whose ports a SYN seems to use again
        self.first = self.last = 0  # where the relative numbers of both sides begin
        self.socket = directory.sender(packet)
        self.causes: Causes | None = None
        if self.socket is not None:
            self.causes = directory.causes.get(self.socket.identity) or Causes({})
        # Without the SYN it is not known at which byte of the stream the capture begins.
        self.counted = self.causes if side.isn is not None else None
        # Whether `receiver` is set: only a segment after the SYN goes to the data socket.
        self.met = False
        self.receiver: Socket | None = None
        self.blocked: Blocked | None = None
        self.syn: Cause | None = None
        self.fin: Cause | None = None
        self.sent = 0  # time of its latest data

    def relative(self, packet: Packet) -> tuple[int, int | None]:
        """(seq, ack) counted from each side's first sequence number."""
        # Read each time: the other side's first number is known only once it has sent something.
        self.first, self.last = self.side.base or 0, self.other.base or 0
        seq = packet.seq - self.first & MASK
        return seq, packet.ack - self.last & MASK if "A" in packet.flags else None

    def cause(self, packet: Packet, role: SegmentRole, back: _Lane | None) -> Cause:
        """Why a segment was sent. back: the other direction, if any packet of it was captured."""
        kind, time = role.kind, packet.time
        if kind in _OF_ITSELF:
            return _OF_ITSELF[kind]
        if kind == wire.SYN:
            return self._opening(time, role.again)
        if kind == wire.SYN_ACK:
            # From here on the place of each byte in the stream is known.
            self.counted = self.causes
            self.syn = self.syn or SYN_ACK
            return Cause("kernel", AGAIN) if role.again else SYN_ACK
        if "R" in packet.flags:
            return self._reset(packet, back)
        if role.span is None or "A" not in packet.flags:
            # Its receiver drops it (RFC 9293, 3.10.7.4), so its bytes are no part of the stream.
            return self.at_that_time(time)
        if kind == wire.FIN:
            return self._ending(packet, role.span, role.again)
        return self._data(role.span, time)

    def _data(self, span: Span, time: int) -> Cause:
        """The sends behind bytes of the stream."""
        self.sent = time
        by_bytes = None
        if self.counted is not None:
            by_bytes = self.counted.of_bytes(span.start, span.end, time)
        if span.again:
            return Cause("kernel", AGAIN, by_bytes.calls if by_bytes is not None else ())
        return by_bytes or self.at_that_time(time)

    def _ending(self, packet: Packet, span: Span, again: bool) -> Cause:
        """The calls behind a FIN, and before them those behind the bytes that it carries."""
        sent, data = self.sent, None
        if packet.length:
            # The FIN itself is asked for by another call than the bytes before it.
            data, sent = self._data(span, packet.time), packet.time
        calls = data.calls if data is not None else ()
        if again and self.fin is not None:
            return Cause("kernel", AGAIN, calls + self.fin.calls)
        ending = NOT_TRACED
        if self.causes is not None:
            ending = self.causes.ending(packet.time, sent)
        self.fin = ending
        if data is None or data.who == "kernel" or ending.who == "unknown":
            return ending
        if data.who == "unknown":
            return data
        return Cause(ending.who, ending.why, calls + ending.calls)

    def at_that_time(self, time: int) -> Cause:
        """The send that was running then, for data whose bytes cannot be counted."""
        if self.causes is None:
            return NOT_TRACED
        cause = self.causes.sending(time)
        return UNCOUNTED if cause is NONE_FITS else cause

    def _opening(self, time: int, again: bool) -> Cause:
        if again and self.syn is not None:
            return Cause("kernel", AGAIN, self.syn.calls)
        self.counted = self.causes
        self.syn = NOT_TRACED if self.causes is None else self.causes.opening(time)
        return self.syn

    def _reset(self, packet: Packet, back: _Lane | None) -> Cause:
        if "A" not in packet.flags and self.causes is not None:
            # An RST without ACK answers a segment, and takes its number from that segment's
            # acknowledgement (RFC 9293, 3.10.7.1).
            return NO_SOCKET if packet.seq == self.side.next else BAD_ACKNOWLEDGEMENT
        # An RST with ACK that answers a SYN: nobody listens there.
        asked = back is not None and back.syn is not None and packet.ack == back.side.next
        if self.syn is None and asked:
            return NO_LISTENER
        if self.causes is None:
            return NOT_TRACED
        cause = self.causes.running(packet.time, ("close", "connect"))
        if cause is NONE_FITS and self.causes.gone(packet.time):
            return PROCESS_ENDED
        return cause


class _DatagramSender:
    """Who sends the datagrams from one endpoint to another."""

    __slots__ = ("causes", "directory", "socket")

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.socket: Socket | None = None
        self.causes: Causes | None = None

    def of(self, packet: Packet) -> tuple[Socket | None, Cause]:
        """The socket and the send of a datagram."""
        cause = NONE_FITS
        if self.causes is not None:
            cause = self.causes.datagram(packet.length, packet.time)
        if cause is NONE_FITS:
            # Another socket may have the address by now, or an unbound one has got it since.
            self.socket = self.directory.sender(packet)
            if self.socket is None:
                cause = self.directory.sendto(packet)
                if not cause.calls:
                    return None, cause
                self.socket = cause.calls[0].socket
                assert self.socket is not None
            self.causes = self.directory.causes.get(self.socket.identity)
            if self.causes is not None and cause is NONE_FITS:
                cause = self.causes.datagram(packet.length, packet.time)
        return self.socket, cause
