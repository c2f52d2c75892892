"""Writes a trace as pcapng for Wireshark: each packet's comment has its socket, call and source line.

What the trace lacks is in the comment of the file (Statistics, Capture File Properties). What is known
only after the last packet is in the comment of interface statistics there.
"""

from __future__ import annotations

from collections.abc import Iterator

from sockfsm.errors import UsageError
from sockfsm.events import Call, Packet
from sockfsm.trace.stream import events
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.views.incomplete import incomplete
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import answered, place, spoken
from sockfsm.views.text import count, plain
from sockfsm.wire import blocks
from sockfsm.wire.pcapng import CaptureFile

_LAST = 2**64 - 1  # ns: the file's clock ends in 2554, and a damaged time may be later


def pieces(trace: Trace) -> Iterator[bytes]:
    """Yield the file, block by block. UsageError for a trace without packets."""
    path = trace.path / PACKETS
    if not path.exists():
        raise UsageError(f"{trace.path}: the trace has no packets: choose another form")
    source, strangers = CaptureFile(path), trace.facts.strangers
    told = _comments(trace)
    packet, comment = next(told, (None, ""))
    numbers: dict[int, int] = {}
    lacks = list(incomplete(trace))
    yield blocks.section("\n".join(["exported by sockfsm", *lacks, *source.comments]))
    last = 0
    for stamp, link, data, length in source:
        last = wall = min(max(stamp, 0), _LAST)
        if link not in numbers:
            numbers[link] = len(numbers)
            yield blocks.interface(link, 0, source.names.get(link, ""))
        # Frames that are neither TCP nor UDP have no comment and are kept all the same, unless they
        # may be strangers'.
        if packet is not None and packet.wall == stamp and packet.raw == data:
            yield blocks.packet(numbers[link], wall, data, length, (comment,) if comment else ())
            packet, comment = next(told, (None, ""))
        elif not strangers:
            yield blocks.packet(numbers[link], wall, data, length)
    if later := [line for line in incomplete(trace) if line not in lacks]:
        if not numbers:
            yield blocks.interface(1, 0)
        yield blocks.comment(0, last, "\n".join(later))


def _comments(trace: Trace) -> Iterator[tuple[Packet, str]]:
    """Yield each packet of the trace in the file's order, with its comment."""
    lanes = Lanes(trace, index=True)
    states: dict[str, str] = {}
    # Merging with the calls leaves the packets in the order that they have in the file.
    for _, _, event, *_ in events(trace):
        if isinstance(event, Call) and event.socket is not None:
            states[event.socket.identity] = event.after
        elif isinstance(event, Packet):
            yield event, _comment(event, lanes, states)


def _comment(packet: Packet, lanes: Lanes, states: dict[str, str]) -> str:
    said = []
    call = packet.call
    if call is not None:
        who = f"{lanes.socket(packet.socket)} {lanes.who(call.process, call.thread)}"
        more = len(packet.cause.calls) - 1 if packet.cause is not None else 0
        and_more = f" and {count(more, 'more call')}" if more else ""
        queued = ", queued" if packet.cause is not None and packet.cause.why else ""
        said.append(f"{who}: {spoken(call)} = {answered(call)}{and_more}{queued}")
        if call.site is not None:
            said.append(place(call.site, 60))
        said.append(f"state {call.before}")
    elif packet.socket is not None:
        cause = packet.cause
        who = "cause unknown" if cause is not None and cause.who == "unknown" else "the kernel"
        why = f" ({plain(cause.why)})" if cause is not None and cause.why else ""
        said.append(f"{who}{why}, for {lanes.socket(packet.socket)}")
        said.append(f"state {states.get(packet.socket.identity, 'not yet accepted')}")
    receiver = packet.receiver
    if receiver is not None:
        state = states.get(receiver.identity, "not yet accepted")
        said.append(f"to {lanes.socket(receiver)} in state {state}")
    ended = packet.ended
    if ended is not None:
        where = f" at {place(ended.site, 60)}" if ended.site else ""
        said.append(f"ends the wait of {lanes.socket(ended.socket)} {spoken(ended)}{where}")
    return "; ".join(said)
