"""Explains each connection of a capture: how it opened, what it carried, how it ended.

    report = inspect(packets)
    report.connections[0].opening.kind        # 'normal'

The report says only what the packets show. Where they allow several causes (a reset because of unread
data, or because of SO_LINGER), it names all of them. Sources: RFC 9293, 3.5 and 3.6; tcp(7).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sockfsm.events import Endpoint, Packet
from sockfsm.wire.findings import (
    CLIENT,
    SERVER,
    Closing,
    Connection,
    Datagrams,
    Direction,
    Opening,
    Report,
    Segment,
)
from sockfsm.wire.flow import Flow
from sockfsm.wire.flows import Conversation, Flows
from sockfsm.wire.headers import FrameDecoder, TcpOptions, options
from sockfsm.wire.pcapng import CaptureFile
from sockfsm.wire.sequence import Seq
from sockfsm.wire.side import Side


def inspect(packets: Iterable[Packet]) -> Report:
    """Analyse packets in their captured order, in one pass. Memory grows with the connections."""
    return report(Flows().add_all(packets))


def inspect_file(
    path: Path | str, problems: list[str] | None = None, port: int | None = None
) -> Report:
    """Analyse a capture file. Faster than `inspect`, because plain data segments are only counted.

    port: only connections and conversations with this port. Adds a line to `problems` for each thing
    that was lost or cannot be read. TraceError for a file that is missing or is no capture.
    """
    source = CaptureFile(path)
    clock = source.clock.offset if source.clock else 0
    tracked = Flows().add_frames(source, FrameDecoder(clock))
    if problems is not None:
        problems += [problem for problem in source.all_problems if problem not in problems]
    return report(tracked, port)


def report(tracked: Flows, port: int | None = None) -> Report:
    """Explain everything that was tracked. Call it after the last packet. port: only that port's."""
    flows = [f for f in tracked.flows if port is None or port in (s.end[1] for s in f.sides)]
    conversations = [
        c for c in tracked.conversations if port is None or port in (e[1] for e in c.ends)
    ]
    for flow in flows:
        flow.settle()
    connections = tuple(connection(flow, number) for number, flow in enumerate(flows, 1))
    return Report(connections, tuple(map(_datagrams, conversations)))


def connection(flow: Flow, number: int) -> Connection:
    """Explain one flow, as far as its packets go."""
    client, server = flow.sides
    begin = flow.begin
    offers = {id(p): options(p) for p in flow.opening if "S" in p.flags}
    for side in client, server:
        # `opening` is bounded: after a flood of SYNs the one that counts may not be in it.
        if side.syn is not None and id(side.syn) not in offers:
            offers[id(side.syn)] = options(side.syn)
    opening = _opening(flow, offers)
    return Connection(
        number,
        client.end,
        server.end,
        begin,
        flow.end,
        opening,
        _direction(client, begin),
        _direction(server, begin),
        _closing(flow, opening.kind, offers),
        _segments(flow, flow.unacceptable, offers),
    )


def _datagrams(talk: Conversation) -> Datagrams:
    sent, received = zip(talk.datagrams, talk.bytes, strict=True)
    return Datagrams(*talk.ends, talk.begin, talk.end, sent, received)


def _direction(side: Side, begin: int) -> Direction:
    first = None if side.first_data is None else side.first_data - begin
    last = None if side.last_data is None else side.last_data - begin
    missing = side.missing
    return Direction(
        side.bytes,
        side.segments,
        side.packets,
        side.retransmitted,
        side.late,
        missing,
        side.zero_windows,
        first,
        last,
    )


def _who(flow: Flow, packet: Packet) -> str:
    return CLIENT if packet.source == flow.sides[0].end else SERVER


def _segment(
    flow: Flow, packet: Packet, scales: dict[Endpoint, int], offered: TcpOptions | None
) -> Segment:
    sender, other = flow.side(packet)
    syn = "S" in packet.flags
    # An unacceptable segment may be all that this end sent.
    relative = 0 if syn and sender.isn is None else sender.relative(packet.seq)
    acknowledged = other.relative(packet.ack) if "A" in packet.flags else None
    # A socket connected to itself acknowledges its own numbers.
    if sender.end == other.end and acknowledged is not None:
        acknowledged = sender.relative(packet.ack)
    return Segment(
        packet.time - flow.begin,
        _who(flow, packet),
        packet.flags,
        packet.seq,
        packet.ack,
        relative,
        acknowledged,
        packet.window if syn else packet.window << scales.get(packet.source, 0),
        packet.length,
        offered,
        packet,
        flow.causes.get(id(packet)),
    )


def _segments(
    flow: Flow, packets: list[Packet], offers: dict[int, TcpOptions]
) -> tuple[Segment, ...]:
    """The packets as segments. offers: `id` of a SYN's packet -> its options."""
    # Windows are scaled only if both SYNs offer it (RFC 7323, 2.2), so both must have been captured.
    scales = {s.end: offers[id(s.syn)].scale for s in flow.sides if s.syn is not None}
    if None in scales.values() or len(scales) < len({s.end for s in flow.sides}):
        known: dict[Endpoint, int] = {}
    else:
        known = {end: scale or 0 for end, scale in scales.items()}
    return tuple(_segment(flow, p, known, offers.get(id(p))) for p in packets)


def _opening(flow: Flow, offers: dict[int, TcpOptions]) -> Opening:
    client = flow.sides[0]
    kind, note = _opening_kind(flow)
    round_trip = None
    opened = flow.opened
    if client.syn is not None and opened is not None and kind != "mid-stream":
        # A repeated SYN counts from its last copy, else the retransmission timeout would count as
        # round trip (Karn's algorithm: RFC 6298, 3).
        syns = [p for p in flow.opening if p.flags == client.syn.flags and p.time <= opened.time]
        begin = max((p.time for p in syns if _who(flow, p) == CLIENT), default=client.syn.time)
        round_trip = opened.time - begin
    answers = [p for p in flow.opening if "S" in p.flags and _who(flow, p) == SERVER]
    if flow.opened is not None and any(p.time > flow.opened.time for p in answers):
        note = "SYN-ACK again after the ACK: that was lost, or the server's accept queue is full"
    elif kind == "normal" and client.syns > 1:
        note = f"{client.syns} SYNs were needed: the first was lost, or the accept queue was full"
    elif kind in ("timed out", "unanswered") and flow.sides[1].unacceptable:
        note = "a SYN-ACK acknowledged what was never sent: the client answered RST and waited on"
    segments = _segments(flow, flow.opening, offers)
    return Opening(kind, segments, round_trip, client.syns, note)


def _opening_kind(flow: Flow) -> tuple[str, str]:
    client, server = flow.sides
    if client.end == server.end:
        return "self-connect", ""
    if client.syn is None and server.syn is None:
        return "mid-stream", ""
    if client.syn is None:
        return "mid-stream", "the capture begins with the SYN-ACK"
    reset = server.rst or client.rst
    if server.syn is not None and "A" not in server.syn.flags:
        if flow.opened is None and reset:
            return "reset", "both ends had sent a SYN"
        return "simultaneous", ""
    if server.syn is None:
        if server.rst is not None:
            return "refused", ""
        # A client that sends more than SYNs has seen a SYN-ACK, even if the capture has not.
        if client.packets - client.unacceptable > client.syns and not reset:
            return "normal", "the SYN-ACK is missing in the capture"
        return ("timed out", "") if client.syns > 1 else ("unanswered", "")
    if flow.opened is None:
        return ("reset", "") if reset else ("incomplete", "")
    return "normal", ""


def _closing(flow: Flow, opening: str, offers: dict[int, TcpOptions]) -> Closing:
    segments = _segments(flow, flow.closing, offers)
    left_out = flow.closing_left_out
    reset = min((s.rst for s in flow.sides if s.rst), key=lambda p: p.time, default=None)
    if opening in ("refused", "timed out", "unanswered", "reset"):
        by = _who(flow, reset) if reset else None
        cause = _opening_reset(opening, reset, by) if reset and by else ""
        return Closing("none", segments, reset_by=by, reset_cause=cause, left_out=left_out)
    if opening == "self-connect":
        return _self_closing(flow, segments, left_out)
    fins = sorted((s.fin for s in flow.sides if s.fin), key=lambda p: p.time)
    order = tuple(_who(flow, fin) for fin in fins)
    first = order[0] if order else None
    span = count = None
    between = 0
    kind = "open"
    if len(fins) == 2:
        kind, count, span = _two_fins(flow, fins)
        between = _between(flow, fins)
    elif fins:
        kind = "half-closed"
    complete = len(fins) == 2 and all(s.fin_acked for s in flow.sides)
    shown = sum(1 for p in flow.closing if p.length)
    carried = flow.carried
    after = 0 if carried is None else sum(s.segments for s in flow.sides) - carried - shown
    waiting: tuple[str, ...] = ()
    if reset is not None:
        # After both FINs are acknowledged the connection is over; a late RST is not its end.
        if not complete:
            kind = "reset"
        first = first or _who(flow, reset)
    # The end that closes first must stay in TIME-WAIT; after a simultaneous close both must (RFC 9293,
    # 3.6).
    if kind == "orderly":
        waiting = (order[0],)
    elif kind == "simultaneous":
        waiting = (CLIENT, SERVER)
    return Closing(
        kind,
        segments,
        first,
        order,
        count,
        span,
        between,
        max(after, 0),
        _who(flow, reset) if reset else None,
        _reset_cause(flow, reset) if reset else "",
        waiting,
        complete,
        left_out,
        "" if reset is not None or complete else _gone(flow),
    )


def _two_fins(flow: Flow, fins: list[Packet]) -> tuple[str, int, int]:
    """(kind, segments of the closing, ns between the FINs)."""
    first, second = fins
    acknowledged = "A" in second.flags and Seq(second.ack) - (first.seq + first.length) >= 1
    span = second.time - first.time
    if not acknowledged:
        return "simultaneous", 4, span
    carrier = flow.side(first)[0].fin_acked
    return "orderly", 3 if carrier is second else 4, span


def _between(flow: Flow, fins: list[Packet]) -> int:
    """Bytes that the end which closed later sent after the first FIN."""
    sender, _ = flow.side(fins[1])
    first, second = fins
    if sender.last_data is None or sender.last_data <= first.time:
        return 0
    if "A" not in first.flags:
        return 0
    return max(Seq(second.seq) + second.length - first.ack, 0)


def _self_closing(flow: Flow, segments: tuple[Segment, ...], left_out: int) -> Closing:
    side = flow.sides[0]
    if side.rst:
        cause = _reset_cause(flow, side.rst)
        return Closing("reset", segments, CLIENT, reset_by=CLIENT, reset_cause=cause)
    if side.fin:
        return Closing(
            "simultaneous",
            segments,
            CLIENT,
            (CLIENT,),
            time_wait=(CLIENT,),
            complete=any(
                "A" in p.flags and Seq(p.ack) - (side.fin.seq + side.fin.length) >= 1
                for p in flow.closing
            ),
            left_out=left_out,
        )
    return Closing("open", segments)


def _opening_reset(opening: str, reset: Packet, by: str) -> str:
    if opening == "refused":
        return "nothing listens on that port"
    if "A" not in reset.flags:
        return "it had given up, or scans ports: no socket waits for the SYN-ACK"
    if by == CLIENT:
        return "the socket was closed while the connection was being opened"
    return "the listening socket was closed while the connection was being opened"


def _gone(flow: Flow) -> str:
    """A note that an end cannot be reached any more; '' where nothing says so."""
    for side, other in (flow.sides, flow.sides[::-1]):
        count, since = side.unanswered
        if count and since == other.packets:
            who = CLIENT if side is flow.sides[0] else SERVER
            times = "once" if count == 1 else f"{count} times"
            return f"what the {who} sent last was sent again {times} and never acknowledged"
    return ""


def _reset_cause(flow: Flow, reset: Packet) -> str:
    """The probable cause of an RST on an open connection, by the way in which Linux sends them."""
    sender, other = flow.side(reset)
    if "A" not in reset.flags:
        # The answer to a segment with ACK for which no socket exists has no ACK (RFC 9293, 3.10.7.1).
        if sender.fin is not None:
            return "data came after this end had closed: no socket is left to take it"
        return "a segment came for which no socket is left"
    if sender.fin is not None:
        return "closed with received data unread, after its own FIN"
    # Linux sends RST with ACK when a socket is closed with unread data (RFC 1122, 4.2.2.13), or with
    # SO_LINGER 0. A server that never sent may have been closed while still in the accept queue.
    early = sender is flow.sides[1] and not sender.bytes
    if other.bytes:
        accept = "before accept, " if early else ""
        return f"closed {accept}with received data unread, or with SO_LINGER 0"
    if early:
        return "listening socket closed before accept, or closed with SO_LINGER 0"
    return "closed with SO_LINGER 0"
