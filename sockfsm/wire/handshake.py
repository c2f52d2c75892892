"""What a capture says about each connection: how it opened, what it carried, how it ended.

    report = inspect(packets)
    report.connections[0].opening.kind        # 'normal'

Only what the packets show is said. Where they leave more than one cause (a reset by unread data
or by SO_LINGER), all are named. Sources: RFC 9293, 3.5 and 3.6; tcp(7).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sockfsm.trace.events import Packet
from sockfsm.wire.connections import Connections, Conversation
from sockfsm.wire.findings import (
    CLIENT,
    SERVER,
    Closing,
    Connection,
    Datagrams,
    Flow,
    Opening,
    Report,
    Segment,
)
from sockfsm.wire.headers import Decoder, Options, options
from sockfsm.wire.pcapng import CaptureFile
from sockfsm.wire.side import MODULO, End, Side, distance
from sockfsm.wire.stream import Stream


def inspect(packets: Iterable[Packet]) -> Report:
    """Analyse packets in the order of a capture. One pass; memory grows with connections."""
    found = Connections().add_all(packets)
    connections = tuple(connection(s, number) for number, s in enumerate(found.streams, 1))
    return Report(connections, tuple(_datagrams(c) for c in found.conversations))


def inspect_file(
    path: Path | str, problems: list[str] | None = None, port: int | None = None
) -> Report:
    """Analyse a capture file; faster than `inspect`, as plain data packets are only counted.

    port: only connections and conversations with this port. What cannot be read or was lost is
    added to `problems`. TraceError for a file that is missing or no capture.
    """
    source = CaptureFile(path)
    clock = source.clock.offset if source.clock else 0
    found = Connections().add_frames(source, Decoder(clock))
    if problems is not None:
        problems += [problem for problem in source.lacks if problem not in problems]
    streams = [s for s in found.streams if port is None or port in _ports(s.sides[0], s.sides[1])]
    talks = [c for c in found.conversations if port is None or port in (e[1] for e in c.ends)]
    connections = tuple(connection(s, number) for number, s in enumerate(streams, 1))
    return Report(connections, tuple(_datagrams(c) for c in talks))


def _ports(*sides: Side) -> tuple[int, ...]:
    return tuple(side.end[1] for side in sides)


def connection(stream: Stream, number: int) -> Connection:
    """One stream, explained."""
    stream.settle()
    client, server = stream.sides
    begin = stream.begin
    offers = {id(p): options(p) for p in stream.opening if "S" in p.flags}
    for side in client, server:
        # A SYN may be missing among the first ones that are kept, when there were very many.
        if side.syn is not None and id(side.syn) not in offers:
            offers[id(side.syn)] = options(side.syn)
    opening = _opening(stream, offers)
    return Connection(
        number,
        client.end,
        server.end,
        begin,
        stream.end,
        opening,
        _flow(client, begin),
        _flow(server, begin),
        _closing(stream, opening.kind, offers),
        _segments(stream, stream.strays, offers),
    )


def _datagrams(found: Conversation) -> Datagrams:
    sent, received = zip(found.datagrams, found.bytes, strict=True)
    return Datagrams(*found.ends, found.begin, found.end, sent, received)


def _flow(side: Side, begin: int) -> Flow:
    first = None if side.first_data is None else side.first_data - begin
    last = None if side.last_data is None else side.last_data - begin
    missing = side.missing
    return Flow(
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


def _who(stream: Stream, packet: Packet) -> str:
    return CLIENT if packet.source == stream.sides[0].end else SERVER


def _segment(
    stream: Stream, packet: Packet, scales: dict[End, int], offered: Options | None
) -> Segment:
    sender, other = stream.side(packet)
    syn = "S" in packet.flags
    # A stray may be all that this end sent.
    relative = 0 if syn and sender.isn is None else sender.relative(packet.seq)
    acknowledged = other.relative(packet.ack) if "A" in packet.flags else None
    if sender.end == other.end and acknowledged is not None:
        acknowledged = sender.relative(packet.ack)
    return Segment(
        packet.time - stream.begin,
        _who(stream, packet),
        packet.flags,
        packet.seq,
        packet.ack,
        relative,
        acknowledged,
        packet.window if syn else packet.window << scales.get(packet.source, 0),
        packet.length,
        offered,
    )


def _segments(
    stream: Stream, packets: list[Packet], offers: dict[int, Options]
) -> tuple[Segment, ...]:
    """offers: what each SYN offers, by the `id` of its packet."""
    scales = {s.end: offers[id(s.syn)].scale for s in stream.sides if s.syn is not None}
    if None in scales.values() or len(scales) < len({s.end for s in stream.sides}):
        known: dict[End, int] = {}
    else:
        known = {end: scale or 0 for end, scale in scales.items()}
    return tuple(_segment(stream, p, known, offers.get(id(p))) for p in packets)


def _opening(stream: Stream, offers: dict[int, Options]) -> Opening:
    client = stream.sides[0]
    kind, note = _opening_kind(stream)
    round_trip = None
    opened = stream.opened
    if client.syn is not None and opened is not None and kind != "mid-stream":
        # Of a repeated SYN the last one: what came before was no round trip (RFC 6298, 3).
        syns = [p for p in stream.opening if p.flags == client.syn.flags and p.time <= opened.time]
        begin = max((p.time for p in syns if _who(stream, p) == CLIENT), default=client.syn.time)
        round_trip = opened.time - begin
    answers = [p for p in stream.opening if "S" in p.flags and _who(stream, p) == SERVER]
    if stream.opened is not None and any(p.time > stream.opened.time for p in answers):
        note = "SYN-ACK again after the ACK: that was lost, or the server's accept queue is full"
    elif kind == "normal" and client.syns > 1:
        note = f"{client.syns} SYNs were needed: the first was lost, or the accept queue was full"
    elif kind in ("timed out", "unanswered") and stream.sides[1].strays:
        note = "a SYN-ACK of what was never sent came: the client answers RST, and waits on"
    segments = _segments(stream, stream.opening, offers)
    return Opening(kind, segments, round_trip, client.syns, note)


def _opening_kind(stream: Stream) -> tuple[str, str]:
    client, server = stream.sides
    if client.end == server.end:
        return "self-connect", ""
    if client.syn is None and server.syn is None:
        return "mid-stream", ""
    if client.syn is None:
        return "mid-stream", "the capture begins with the SYN-ACK"
    reset = server.rst or client.rst
    if server.syn is not None and "A" not in server.syn.flags:
        if stream.opened is None and reset:
            return "reset", "both ends had sent a SYN"
        return "simultaneous", ""
    if server.syn is None:
        if server.rst is not None:
            return "refused", ""
        if client.packets - client.strays > client.syns and not reset:
            return "normal", "the SYN-ACK is missing in the capture"
        return ("timed out", "") if client.syns > 1 else ("unanswered", "")
    if stream.opened is None:
        return ("reset", "") if reset else ("incomplete", "")
    return "normal", ""


def _closing(stream: Stream, opening: str, offers: dict[int, Options]) -> Closing:
    segments = _segments(stream, stream.closing, offers)
    left_out = stream.closing_left_out
    reset = min((s.rst for s in stream.sides if s.rst), key=lambda p: p.time, default=None)
    if opening in ("refused", "timed out", "unanswered", "reset"):
        by = _who(stream, reset) if reset else None
        cause = _opening_reset(opening, reset, by) if reset and by else ""
        return Closing("none", segments, reset_by=by, reset_cause=cause, left_out=left_out)
    if opening == "self-connect":
        return _self_closing(stream, segments, left_out)
    fins = sorted((s.fin for s in stream.sides if s.fin), key=lambda p: p.time)
    order = tuple(_who(stream, fin) for fin in fins)
    first = order[0] if order else None
    span = count = None
    between = 0
    kind = "open"
    if len(fins) == 2:
        kind, count, span = _two_fins(stream, fins)
        between = _between(stream, fins)
    elif fins:
        kind = "half-closed"
    complete = len(fins) == 2 and all(s.fin_acked for s in stream.sides)
    shown = sum(1 for p in stream.closing if p.length)
    carried = stream.carried
    after = 0 if carried is None else sum(s.segments for s in stream.sides) - carried - shown
    waiting: tuple[str, ...] = ()
    if reset is not None:
        if not complete:
            kind = "reset"
        first = first or _who(stream, reset)
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
        _who(stream, reset) if reset else None,
        _reset_cause(stream, reset) if reset else "",
        waiting,
        complete,
        left_out,
        "" if reset is not None or complete else _gone(stream),
    )


def _two_fins(stream: Stream, fins: list[Packet]) -> tuple[str, int, int]:
    """(kind, segments of the teardown, ns between the FINs)."""
    first, second = fins
    beyond = (first.seq + first.length) & MODULO
    acknowledged = "A" in second.flags and distance(second.ack, beyond) >= 1
    span = second.time - first.time
    if not acknowledged:
        return "simultaneous", 4, span
    carrier = stream.side(first)[0].fin_acked
    return "orderly", 3 if carrier is second else 4, span


def _between(stream: Stream, fins: list[Packet]) -> int:
    """Bytes that the end which closed later still sent after the first FIN, so far as is known."""
    sender, _ = stream.side(fins[1])
    first, second = fins
    if sender.last_data is None or sender.last_data <= first.time:
        return 0
    if "A" not in first.flags:
        return 0
    return max(distance((second.seq + second.length) & MODULO, first.ack), 0)


def _self_closing(stream: Stream, segments: tuple[Segment, ...], left_out: int) -> Closing:
    side = stream.sides[0]
    if side.rst:
        cause = _reset_cause(stream, side.rst)
        return Closing("reset", segments, CLIENT, reset_by=CLIENT, reset_cause=cause)
    if side.fin:
        return Closing(
            "simultaneous",
            segments,
            CLIENT,
            (CLIENT,),
            time_wait=(CLIENT,),
            complete=any(
                "A" in p.flags and distance(p.ack, side.fin.seq + side.fin.length) >= 1
                for p in stream.closing
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


def _gone(stream: Stream) -> str:
    """What tells that an end cannot be reached any more; '' when nothing does."""
    for side, other in (stream.sides, stream.sides[::-1]):
        count, since = side.unanswered
        if count and since == other.packets:
            who = CLIENT if side is stream.sides[0] else SERVER
            times = "once" if count == 1 else f"{count} times"
            return f"what the {who} sent last was sent again {times} and never acknowledged"
    return ""


def _reset_cause(stream: Stream, reset: Packet) -> str:
    """The probable cause of an RST on an open connection, as Linux sends them."""
    sender, other = stream.side(reset)
    if "A" not in reset.flags:
        # RFC 9293, 3.10.7: the answer to a segment that no socket takes carries no ACK.
        if sender.fin is not None:
            return "data came after this end had closed: no socket is left to take it"
        return "a segment came for which no socket is left"
    if sender.fin is not None:
        return "closed with received data unread, after its own FIN"
    early = sender is stream.sides[1] and not sender.bytes
    if other.bytes:
        accept = "before accept, " if early else ""
        return f"closed {accept}with received data unread, or with SO_LINGER 0"
    if early:
        return "listening socket closed before accept, or closed with SO_LINGER 0"
    return "closed with SO_LINGER 0"
