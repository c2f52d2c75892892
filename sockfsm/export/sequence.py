"""Writes a trace as a Mermaid sequence diagram: sockets are participants, packets are arrows."""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.events import Call, Message, Packet, Socket
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import events
from sockfsm.views.incomplete import incomplete
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import answered, flags, place, spoken
from sockfsm.views.text import address

MOST = 400  # events; Mermaid does not draw more in reasonable time


def lines(trace: TraceSource, most: int = MOST) -> Iterator[str]:
    """Yield the diagram's text. After `most` events it ends with a note that says so."""
    lanes = Lanes(trace, index=True)
    yield "sequenceDiagram"
    for socket in lanes.sockets.values():
        yield f"  participant {_id(lanes, socket)} as {_escaped(_title(lanes, socket))}"
    drawn = left_out = 0
    for _, _, event, *_ in events(trace):
        if isinstance(event, Call) and (event.socket is None or event.call == "accepted"):
            continue
        if drawn == most:
            left_out += 1
            continue
        drawn += 1
        if isinstance(event, Call):
            yield _call(event, lanes)
        elif isinstance(event, Message):
            yield from _message(event, lanes)
        elif isinstance(event, Packet):
            yield from _packet(event, lanes)
    here = next((_id(lanes, socket) for socket in lanes.sockets.values()), "")
    if left_out:
        yield f"  Note over {here}: {left_out} more events are not shown"
    yield from _lacking(trace, here)


def _lacking(trace: TraceSource, here: str) -> Iterator[str]:
    """What the trace lacks, as comments and as notes. here: a participant, '' if there is none."""
    for line in incomplete(trace):
        yield f"  %% {line}"
        if not here:
            here = "trace"
            yield f"  participant {here}"
        yield f"  Note over {here}: {_escaped(line)}"


def _call(call: Call, lanes: Lanes) -> str:
    where = f"<br/>{place(call.site)}" if call.site else ""
    moved = f"<br/>{call.before} to {call.after}" if call.moved else ""
    text = f"{_escaped(f'{spoken(call)} = {answered(call)}')}{_escaped_markup(moved + where)}"
    return f"  Note over {_id(lanes, call.socket)}: {text}"


def _message(message: Message, lanes: Lanes) -> Iterator[str]:
    if message.receiver is not None:
        text = f"{message.length} B (no packet: seen from the calls)"
        yield f"  {_id(lanes, message.socket)}-->>{_id(lanes, message.receiver)}: {text}"


def _packet(packet: Packet, lanes: Lanes) -> Iterator[str]:
    source, target = packet.socket, packet.receiver
    if source is None or target is None:
        here = source or target
        if here is not None:
            ends = f"{address(packet.source)} to {address(packet.target)}"
            text = _escaped(f"{flags(packet)} {packet.length} B, {ends}")
            yield f"  Note over {_id(lanes, here)}: {text}"
        return
    text = flags(packet)
    if packet.protocol == "tcp":
        seq, ack = packet.relative
        text += f" seq={seq}" + (f" ack={ack}" if ack is not None else "")
    if packet.length:
        text += f", {packet.length} B"
    arrow = "-x" if "R" in packet.flags else "->>"
    yield f"  {_id(lanes, source)}{arrow}{_id(lanes, target)}: {_escaped(text)}"


def _id(lanes: Lanes, socket: Socket | None) -> str:
    return "s" + lanes.socket(socket).lstrip("#")


def _title(lanes: Lanes, socket: Socket) -> str:
    name = f" {address(socket.local)}" if socket.local else ""
    return f"{lanes.socket(socket)} {socket.kind}{name}"


def _escaped(text: str) -> str:
    """Write Mermaid's own characters as its entity codes."""
    return "".join(
        letter if letter.isalnum() or letter in " .,:()=/[]-_'+" else f"#{ord(letter)};"
        for letter in text
    )


def _escaped_markup(text: str) -> str:
    return "<br/>".join(_escaped(part) for part in text.split("<br/>"))
