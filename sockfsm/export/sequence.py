"""A trace as a Mermaid sequence diagram: sockets are the participants, packets the arrows."""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.trace.events import Call, Packet, Socket
from sockfsm.trace.trace import Trace
from sockfsm.trace.unix_wire import Message, messages
from sockfsm.views.incomplete import incomplete
from sockfsm.views.lanes import Lanes
from sockfsm.views.order import moment, ordered
from sockfsm.views.phrases import Relative, answered, flags, place, spoken
from sockfsm.views.text import address

MOST = 400  # Mermaid draws no more than that in reasonable time


def lines(trace: Trace, most: int = MOST) -> Iterator[str]:
    """The diagram's text; after `most` events it ends with a note that says so."""
    lanes = Lanes(trace, index=True)
    relative = Relative()
    yield "sequenceDiagram"
    for socket in lanes.sockets.values():
        yield f"  participant {_id(lanes, socket)} as {_escaped(_title(lanes, socket))}"
    events: list[Call | Packet | Message] = []
    left_out = 0
    local = [*messages(trace.calls())]
    for event in ordered(trace.calls(), trace.packets()):
        if isinstance(event, Call) and (event.socket is None or event.call == "accepted"):
            continue
        while local and local[0].time <= moment(event):
            events.append(local.pop(0))
        events.append(event)
        if len(events) > most:
            left_out += len(events) - most
            del events[most:]
    events += local[: most - len(events)]
    for shown in events:
        yield from _line(shown, lanes, relative)
    if left_out:
        first = next(iter(lanes.sockets.values()))
        yield f"  Note over {_id(lanes, first)}: {left_out} more events are not shown"
    here = next((_id(lanes, socket) for socket in lanes.sockets.values()), "")
    for line in incomplete(trace):
        yield f"  %% {line}"
        if not here:
            here = "trace"
            yield f"  participant {here}"
        yield f"  Note over {here}: {_escaped(line)}"


def _line(event: Call | Packet | Message, lanes: Lanes, relative: Relative) -> Iterator[str]:
    if isinstance(event, Call):
        where = f"<br/>{place(event.site)}" if event.site else ""
        moved = f"<br/>{event.before} to {event.after}" if event.moved else ""
        text = f"{_escaped(f'{spoken(event)} = {answered(event)}')}{_escaped_markup(moved + where)}"
        yield f"  Note over {_id(lanes, event.socket)}: {text}"
    elif isinstance(event, Message):
        if event.receiver is not None:
            text = f"{event.length} B (no packet: seen from the calls)"
            yield f"  {_id(lanes, event.sender)}-->>{_id(lanes, event.receiver)}: {text}"
    else:
        yield from _packet(event, lanes, relative)


def _packet(packet: Packet, lanes: Lanes, relative: Relative) -> Iterator[str]:
    source, target = packet.socket, lanes.receiver(packet)
    if source is None or target is None:
        here = source or target
        if here is not None:
            ends = f"{address(packet.source)} to {address(packet.target)}"
            text = _escaped(f"{flags(packet)} {packet.length} B, {ends}")
            yield f"  Note over {_id(lanes, here)}: {text}"
        return
    text = flags(packet)
    if packet.protocol == "tcp":
        seq, ack = relative.numbers(packet)
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
    """Mermaid's own characters as its entity codes."""
    return "".join(
        letter if letter.isalnum() or letter in " .,:()=/[]-_'+" else f"#{ord(letter)};"
        for letter in text
    )


def _escaped_markup(text: str) -> str:
    return "<br/>".join(_escaped(part) for part in text.split("<br/>"))
