"""The events of a trace. Everything downstream (views, diagrams, assertions) reads these alone.

Times are integers in nanoseconds: `begin`, `end` and `time` on the monotonic clock, `wall` since
the epoch. A real run, a simulated run and an imported one give the same events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

Address = tuple[str | int, ...] | str | bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that a trace lacks.

    what: `calls`, `packets`, `kernel states`, `records`, `logs`. where: the file that tells of it.
    count: how many, 0 where nobody knows; least: it may be more. since, until: wall ns, 0 where
    unknown. why: a few words. text: all of it in a line for people.
    """

    what: str
    where: str
    count: int
    least: bool
    since: int
    until: int
    why: str
    text: str


class Site(NamedTuple):
    """A place in the traced program's source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True, eq=False)
class Process:
    """One traced process; `clock` maps monotonic to wall time: wall = monotonic + clock.

    name: what its sockets' identities begin with, `<pid>`, or `<pid>-<n>` where several logs have
    the number: after `exec`, in a subinterpreter, when the kernel gave it again.
    """

    pid: int
    parent: int
    log: str
    command: tuple[str, ...]
    clock: int
    started: int
    ended: int | None = None
    threads: dict[int, Thread] = field(default_factory=dict)
    name: str = ""


@dataclass(slots=True, eq=False)
class Thread:
    """A thread of a traced process, `ident` as the kernel numbers it (gettid)."""

    number: int
    ident: int
    name: str


@dataclass(slots=True, eq=False)
class Socket:
    """One kernel socket as one process tree saw it; its identity survives descriptor reuse.

    identity: '<name of the process>.<number>', unique in the trace. made_by: the call that made it
    (`create`, `accept`, `socketpair`, `adopt` for one that came from outside). parent: identity of the
    listening socket for one that accept made. local, remote: the latest addresses known.
    """

    identity: str
    number: int
    process: Process
    kind: str
    family: int
    type: int
    proto: int
    descriptor: int
    made_by: str
    parent: str | None = None
    local: Address | None = None
    remote: Address | None = None


class Call(NamedTuple):
    """One call from its begin to its end.

    method: what the program called (`sendall`); call: its word in the machine (`send`).
    outcome: `ok`, `eof`, an errno's name, `deferred` (a close that waits for makefile() or dup()),
    `raised` (the call never reached the kernel). errno: 0 unless the kernel gave one.
    asked, done: bytes asked for and moved; asked is the backlog of listen and `how` of shutdown.
    address: the peer of connect, accept, sendto, recvfrom; the name of bind. before, after: flat
    states, equal when nothing changed. waited: it really blocked. explained: a rule of the machine
    fits. enforced: sockfsm refused it, the kernel was not asked. predicted: errno name by which
    the model refuses the call in `before`, '' where the call is legal.
    """

    begin: int
    end: int
    process: Process
    thread: Thread
    socket: Socket | None
    method: str
    call: str
    outcome: str
    errno: int
    asked: int
    done: int
    address: Address | None
    site: Site | None
    before: str
    after: str
    waited: bool
    explained: bool
    enforced: bool
    predicted: str

    @property
    def wall(self) -> int:
        """Begin as wall time, ns since the epoch."""
        return self.begin + self.process.clock

    @property
    def refused(self) -> bool:
        """The kernel, or the model in its place, answered with an errno."""
        return self.errno != 0 and self.outcome not in (
            "EAGAIN",
            "EINPROGRESS",
            "EALREADY",
            "timeout",
        )

    @property
    def moved(self) -> bool:
        """The call changed the socket's state."""
        return self.before != self.after


class Transition(NamedTuple):
    """A change of state: when, from where to where, and the call that caused it."""

    time: int
    socket: Socket
    source: str
    target: str
    cause: Call


class Wait(NamedTuple):
    """The span in which a call really blocked; `end` is None while it still does."""

    begin: int
    end: int | None
    thread: Thread
    socket: Socket | None
    method: str
    site: Site | None


class Cause(NamedTuple):
    """Why a packet was sent.

    who: `call`, the program asked for it by `calls`; `kernel`, TCP sent it of itself; `unknown`, it
    cannot be decided. why: a few words: what the kernel sent or what is wanting; of a call, `queued`
    when it had returned before the packet went out, else ''. calls: in order; more than one where a
    segment has bytes of several sends, or FIN with the last bytes; of a retransmission, whose bytes.
    """

    who: str
    why: str = ""
    calls: tuple[Call, ...] = ()


class Packet(NamedTuple):
    """One captured packet of a traced connection, by its headers; `raw` has all captured bytes.

    time: monotonic, mapped from the kernel's wall timestamp `wall`. source, target: (host, port).
    protocol: `tcp` or `udp`. flags: TCP flag letters in scapy's order (FSRPAUEC). length: payload
    bytes on the wire.

    The rest comes from its connection and the calls of both ends (`sockfsm.trace.join`). socket: the
    traced end that sent it; receiver: the one it went to. cause: why it was sent; None before the join.
    relative: (seq, ack) from each side's first sequence number, ack None without the flag. states: of a
    segment that opens or closes, the TCP states of (sender, receiver) after it. ignored: its receiver
    must ignore it (RFC 9293, 3.10.7; RFC 5961). ended: the blocked call that waited for it.
    """

    time: int
    wall: int
    protocol: str
    source: tuple[str, int]
    target: tuple[str, int]
    flags: str
    seq: int
    ack: int
    window: int
    length: int
    raw: bytes
    link: int
    socket: Socket | None = None
    cause: Cause | None = None
    receiver: Socket | None = None
    relative: tuple[int, int | None] = (0, None)
    states: tuple[str, str] | None = None
    ignored: bool = False
    ended: Call | None = None

    @property
    def call(self) -> Call | None:
        """The first of the calls that asked for it, where it was a call and that could be decided."""
        cause = self.cause
        return cause.calls[0] if cause is not None and cause.who == "call" else None


class Message(NamedTuple):
    """What one send moved into an AF_UNIX socket: no packet shows it, the calls of both ends do.

    receiver: None where that end is not traced. length: bytes. ended: the blocked call that waited for
    it.
    """

    call: Call
    socket: Socket
    receiver: Socket | None
    length: int
    ended: Call | None
