"""The dialogues of a trace, read from the payload of its packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.events import Call, Endpoint, Packet, Process, Socket, Thread
from sockfsm.model.rules import ACCEPTED
from sockfsm.protocols.dialogue import Dialogue
from sockfsm.protocols.protocol import CLIENT, SERVER, Protocol
from sockfsm.wire.headers import transport

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_MOST_HELD = 1 << 22  # bytes of one direction that wait for a lost segment


@dataclass
class Conversation:
    """One connection, and what was said on it.

    client, server: the ends; sockets: the traced sockets of them, in that order. cause: time of a
    packet with data -> the call that sent it, where that is known.
    """

    client: Endpoint
    server: Endpoint
    dialogue: Dialogue
    sockets: tuple[Socket | None, Socket | None] = (None, None)
    causes: dict[int, Call] = field(default_factory=dict)


def as_calls(found: list[Conversation]) -> Iterator[Call]:
    """The exchanges as calls of sockets whose kind is the protocol: what draws paths, draws theirs.

    A refusal has the errno -1. Exchanges without a reply are left out.
    """
    for number, talk in enumerate(found, 1):
        dialogue = talk.dialogue
        name = dialogue.protocol.name
        client = talk.sockets[0]
        owner = client.process if client is not None else _NOBODY
        socket = Socket(
            f"{name}.{number}", number, owner, name, 0, 0, 0, -1, "create", None, talk.client,
            talk.server,
        )  # fmt: skip
        for each in dialogue.exchanges:
            cause = talk.causes.get(each.begin)
            thread = cause.thread if cause is not None else _NOTHING
            if each.end is not None:
                errno = 0 if each.outcome in ACCEPTED else -1
                yield Call(
                    each.begin, each.end, owner, thread, socket, each.request, each.request,
                    each.outcome, errno, 0, 0, talk.server, cause.site if cause else None,
                    each.before, each.after, False, each.explained, False, each.predicted,
                )  # fmt: skip


_NOBODY = Process(0, 0, "", (), 0, 0)
_NOTHING = Thread(0, 0, "")


class _Stream:
    """The bytes of one direction, in order: segments come late, twice, or overlap."""

    def __init__(self) -> None:
        self.next = 1  # the SYN counts as 0
        self._early: dict[int, bytes] = {}

    def take(self, offset: int, data: bytes) -> bytes:
        """The bytes that can be read now. OverflowError where too many wait for others."""
        if data and offset + len(data) > self.next:
            self._early[offset] = max(data, self._early.get(offset, b""), key=len)
        ready = bytearray()
        for start in sorted(self._early):
            if start > self.next:
                break
            piece = self._early.pop(start)[self.next - start :]
            ready += piece
            self.next += len(piece)
        if sum(map(len, self._early.values())) > _MOST_HELD:
            raise OverflowError
        return bytes(ready)


def conversations(
    trace: TraceSource, protocol: Protocol, port: int | None = None
) -> list[Conversation]:
    """The dialogues of a trace's TCP connections, in the order in which they began.

    port: only connections to this port of a server; else those to the protocol's ports, or where there
    are none, all that speak the protocol. UsageError where the packets have no payload.
    """
    found = list(_all(trace, protocol))
    for each in found:
        each.dialogue.end()
    if port is not None:
        return [each for each in found if each.server[1] == port]
    usual = [each for each in found if each.server[1] in protocol.ports]
    return usual or [each for each in found if each.dialogue.exchanges]


def _all(trace: TraceSource, protocol: Protocol) -> Iterator[Conversation]:
    open_: dict[frozenset[Endpoint], tuple[Conversation, _Stream, _Stream]] = {}
    for packet in trace.packets():
        if packet.protocol != "tcp" or packet.ignored:
            continue
        ends = frozenset((packet.source, packet.target))
        known = open_.get(ends)
        if known is None or (packet.flags == "S" and max(known[1].next, known[2].next) > 1):
            talk = Conversation(*_roles(packet), Dialogue(protocol))
            known = open_[ends] = (talk, _Stream(), _Stream())
            yield talk
        if packet.length and not known[0].dialogue.broken:
            _hear(packet, *known)


def _roles(packet: Packet) -> tuple[Endpoint, Endpoint]:
    """(client, server): the client sends the SYN, or what is seen first."""
    if "S" in packet.flags and "A" in packet.flags:
        return packet.target, packet.source
    return packet.source, packet.target


def _hear(packet: Packet, talk: Conversation, asked: _Stream, answered: _Stream) -> None:
    from_client = packet.source == talk.client
    pair = (packet.socket, packet.receiver) if from_client else (packet.receiver, packet.socket)
    talk.sockets = (pair[0] or talk.sockets[0], pair[1] or talk.sockets[1])
    if packet.call is not None:
        talk.causes[packet.time] = packet.call
    try:
        stream = asked if from_client else answered
        data = stream.take(packet.relative[0], _payload(packet))
    except OverflowError:
        talk.dialogue.broken = "too many segments are missing in the capture"
        return
    if data:
        talk.dialogue.feed(CLIENT if from_client else SERVER, data, packet.time)


def _payload(packet: Packet) -> bytes:
    start = transport(packet.link, packet.raw)
    begin = start + (packet.raw[start + 12] >> 4) * 4 if start is not None else len(packet.raw)
    data = packet.raw[begin : begin + packet.length]
    if len(data) < packet.length:
        raise UsageError(
            "the packets of this trace have no payload: record it with `sockfsm run --payload`"
        )
    return data
