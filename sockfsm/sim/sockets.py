"""A simulated socket: its parts, as the rules know them, and what the world holds for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sockfsm import tcp_names
from sockfsm.events import Socket
from sockfsm.model.kinds import table_of
from sockfsm.model.rules import Rule
from sockfsm.sim.answers import ask, state, then
from sockfsm.sim.frames import Name
from sockfsm.sim.tcp import Tcb

PIPE = 212_992
"""Bytes that one direction of a UNIX stream holds (net.core.wmem_default)."""


@dataclass(eq=False)
class Request:
    """One call. moved: bytes that it has moved so far. started: connect() has sent its SYN.

    size: most bytes to receive, or the backlog.
    """

    word: str
    method: str
    address: Name | str | None = None
    data: bytes = b""
    size: int = 0
    peek: bool = False
    moved: int = 0
    started: bool = False


@dataclass(eq=False)
class Answer:
    """How a call ended. value: what recv() gave, or the socket that accept() made.

    rule: what the machine says of it; None where no rule was asked.
    """

    outcome: str
    before: str
    after: str
    done: int = 0
    value: object = None
    address: Name | str | None = None
    rule: Rule | None = None


@dataclass(eq=False)
class UnixEnd:
    """One end of a UNIX stream connection. error: ECONNRESET, until it is told."""

    owner: VirtualSocket | None = None
    peer: UnixEnd | None = None
    received: bytearray = field(default_factory=bytearray)
    read_shut: bool = False
    write_shut: bool = False
    closed: bool = False
    error: str = ""


class VirtualSocket:
    """What a socket is beside its parts.

    name, target: its own and its peer's, (host, port) or path. numbered: bound to a port by number.
    queue: what waits for accept(), or datagrams with who sent them. failure: why the last attempt
    to connect failed. linger, keepalive: seconds, where set. sndbuf, rcvbuf: bytes, where set. icmp: an
    answer to an earlier datagram has come. holders: descriptors that name it.
    """

    def __init__(self, kind: str, event: Socket, host: str, born: str = "create") -> None:
        self.kind = kind
        self.event = event
        self.host = host
        initial = table_of(kind).initial
        self.parts = then(kind, initial, ask(kind, initial, born, {}))
        self.order = {part: place for place, part in enumerate(table_of(kind).parts)}
        self.timeout: float | None = None
        self.name: Name | str | None = None
        self.target: Name | str | None = None
        self.numbered = self.reuse = self.nodelay = self.icmp = False
        self.linger: int | None = None
        self.keepalive: int | None = None
        self.sndbuf = self.rcvbuf = 0
        self.tcb: Tcb | None = None
        self.end: UnixEnd | None = None
        self.peer: VirtualSocket | None = None
        self.queue: deque[object] = deque()
        self.datagrams: deque[tuple[bytes, Name | str | None]] = deque()
        self.backlog = 0
        self.failure = ""
        self.holders = 1

    def part(self, name: str) -> str:
        """One of its parts."""
        return self.parts[self.order[name]]

    @property
    def state(self) -> str:
        """Its flat state."""
        return state(self.kind, self.parts)

    @property
    def mode(self) -> str:
        """How its calls wait, in the rules' word."""
        if self.timeout is None:
            return "blocking"
        return "timeout" if self.timeout > 0 else "nonblocking"

    @property
    def listening(self) -> bool:
        """Whether it is a listening socket."""
        return "role" in self.order and self.part("role") == "listening"

    @property
    def open(self) -> bool:
        """Whether its descriptor is open."""
        return self.part("fd") == "open"

    def look(self) -> dict[str, object]:
        """What can be seen of it from outside: `play.look` sees the same of a real one."""
        if not self.open:
            return {"open": False}
        facts: dict[str, object] = {"open": True, "named": self.name is not None}
        tcb = self.tcb
        if self.kind == "tcp":
            # What is in TIME-WAIT is no socket's any more.
            gone = tcb is None or tcb.state == tcp_names.TIME_WAIT
            tcp = tcp_names.CLOSED if tcb is None or gone else tcb.state
            facts["connected"] = tcp not in (tcp_names.CLOSED, tcp_names.SYN_SENT)
            facts["tcp"] = tcp_names.LISTEN if self.listening else tcp
        elif self.kind == "unix-stream":
            facts["connected"] = self.end is not None
        else:
            facts["connected"] = self.part("peer") == "yes"
        if self.kind in ("tcp", "unix-stream"):
            facts["listening"] = self.listening
        return facts
