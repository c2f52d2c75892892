"""What there is to see of a scenario between two events: plain data, for whatever draws it."""

from __future__ import annotations

from dataclasses import dataclass

READY, BLOCKED, ENDED, STUCK = "ready", "blocked", "ended", "stuck"
"""What an actor does: STUCK is blocked for ever."""
CALL, RETURN, PACKET, TIMER = "call", "return", "packet", "timer"
"""What an event is."""

Address = tuple[str, int] | str | None


@dataclass(frozen=True)
class Line:
    """A line of an actor, as the scenario has it, and the comment behind it."""

    number: int
    text: str
    comment: str = ""


@dataclass(frozen=True)
class ActorView:
    """An actor. at: the place of its current line in `lines`, their number where there is none left.

    awaits: what ends its waiting.
    """

    name: str
    host: str
    lines: tuple[Line, ...]
    at: int
    doing: str
    awaits: str = ""


@dataclass(frozen=True)
class SocketView:
    """A socket, or a connection that has none: not accepted yet, or outliving its socket.

    label: `actor.name`. state: the API's, "" without a socket; tcp: the connection's. queue: what
    waits for accept(), None where nothing listens. received, sending: bytes in the buffers, None where
    there are none. full: whether they take no more. datagrams: in the receive queue. blocked: who waits
    in a call.
    """

    label: str
    kind: str
    state: str
    tcp: str = ""
    name: Address = None
    peer: Address = None
    received: int | None = None
    sending: int | None = None
    full: tuple[bool, bool] = (False, False)
    datagrams: int | None = None
    queue: int | None = None
    backlog: int = 0
    error: str = ""
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True)
class PacketView:
    """A packet. due: when it arrives, None for one that was lost. seq, ack: from 0 on."""

    protocol: str
    flags: str
    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    ack: int
    length: int
    due: int | None


@dataclass(frozen=True)
class Choice:
    """An event that may happen next. number: tells it apart. who: an actor, or whose timer it is.

    text: a line of the actor, or what the timer ends. due: ns, when it happens if nothing is late.
    """

    number: int
    kind: str
    who: str
    text: str
    due: int
    packet: PacketView | None = None


@dataclass(frozen=True)
class Change:
    """A socket's state has changed, the API's or (tcp) the connection's, and why."""

    label: str
    before: str
    after: str
    tcp: bool
    why: str = ""
    source: str = ""


@dataclass(frozen=True)
class Happened:
    """The last event. lost: the packet was taken from the wire.

    outcome: of a call that ended, "" for one that waits. refused: the kernel refused it; illegal: and
    always does in this state. why, source: the rule's. meant: what people usually mean by such a call.
    unmet: how it was not as the scenario expects. sent: packets, in order.
    """

    choice: Choice
    lost: bool = False
    outcome: str = ""
    value: bytes | None = None
    state: str = ""
    refused: bool = False
    illegal: bool = False
    why: str = ""
    source: str = ""
    meant: str = ""
    unmet: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    sent: tuple[PacketView, ...] = ()


@dataclass(frozen=True)
class View:
    """The world at one moment.

    time: virtual ns since the beginning. steps: how many were taken. chosen: the choice that comes by
    itself, or that was taken before one went back. most_sockets: lines
    that they may ever take. ending: what is wrong, or was expected, at the end.
    """

    title: str
    time: int
    steps: int
    actors: tuple[ActorView, ...]
    sockets: tuple[SocketView, ...]
    packets: tuple[PacketView, ...]
    choices: tuple[Choice, ...]
    chosen: int
    last: Happened | None
    over: bool
    most_sockets: int
    ending: tuple[str, ...]
