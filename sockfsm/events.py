"""The events of a trace. Views, diagrams and assertions read nothing else.

Times are integers in nanoseconds: `begin`, `end` and `time` on the monotonic clock, `wall` since
the epoch. A real run, a simulated run and an imported one give the same events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

Address = tuple[str | int, ...] | str | bytes
Endpoint = tuple[str, int]
"""One end of a packet or of a connection: (host, port)."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that is missing in a trace.

    what: `calls`, `packets`, `kernel states`, `records` or `logs`. where: the file that says so. count:
    how many, 0 if unknown. least: there may be more. since, until: wall ns, 0 if unknown. why: the
    reason in a few words. text: all of it as a line for people.
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

    started, ended: monotonic ns; `ended` is None while it runs and after it was killed. log: the
    name of its log in the trace's folder. name: the first part of its sockets' identities: `<pid>`,
    or `<pid>-<n>` where several logs share the pid (after `exec`, in a subinterpreter, or when the
    kernel used the pid again).
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
    """A thread of a traced process. number: unique in its log. ident: the kernel's (gettid)."""

    number: int
    ident: int
    name: str


@dataclass(slots=True, eq=False)
class Socket:
    """One kernel socket. Its identity stays the same when a descriptor is duplicated or reused.

    identity: `<name of the process>.<number>`, unique in the trace. made_by: the call that made it:
    `create`, `accepted`, `socketpair`, or `adopt` for one from outside the traced program. parent: of
    an accepted socket, the identity of its listening socket. local, remote: the latest known addresses.
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
    """One finished call.

    method: what the program called (`sendall`). call: its word in the machine (`send`). outcome:
    `ok`, `eof`, the name of an errno, `deferred` (a close that waits for makefile() or dup()) or
    `raised` (the call never reached the kernel; if it waited, an exception ended the wait). errno: 0
    unless the kernel returned one. asked, done: bytes requested and moved; for listen and shutdown,
    asked is the backlog or `how`. address: the peer of connect, accept, sendto and recvfrom, the name
    of bind. before, after: flat states; equal when nothing changed. waited: the call really blocked.
    explained: a rule of the machine fits. enforced: sockfsm refused the call, and the kernel was not
    asked. predicted: the name of the errno with which the model refuses the call in `before`, '' where
    the call is legal.
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
        """Whether the kernel, or the model in enforce mode, answered with an errno.

        An errno that only says `not yet` is no refusal.
        """
        return self.errno != 0 and self.outcome not in (
            "EAGAIN",
            "EINPROGRESS",
            "EALREADY",
            "timeout",
        )

    @property
    def moved(self) -> bool:
        """Whether the call changed the socket's state."""
        return self.before != self.after


class Transition(NamedTuple):
    """A change of state from `source` to `target`, and the call that caused it."""

    time: int
    socket: Socket
    source: str
    target: str
    cause: Call


class Wait(NamedTuple):
    """The time in which a call really blocked; `end` is None while it still does."""

    begin: int
    end: int | None
    thread: Thread
    socket: Socket | None
    method: str
    site: Site | None


class Cause(NamedTuple):
    """Why a packet was sent.

    who: `call` when the program asked for it, `kernel` when TCP sent it on its own, `unknown` when it
    cannot be decided. why: for `kernel`, what it sent; for `unknown`, what is missing; for `call`,
    `queued` when the call returned before the packet went out, else ''. calls: the calls behind it, in
    order. There are several when a segment has bytes of several sends, or carries FIN with the last
    bytes. A retransmission has the calls whose bytes it repeats.
    """

    who: str
    why: str = ""
    calls: tuple[Call, ...] = ()


class Packet(NamedTuple):
    """One captured packet of a traced connection.

    time: monotonic, mapped from the kernel's wall timestamp `wall`. protocol: `tcp` or `udp`. flags:
    TCP flag letters in scapy's order (FSRPAUEC). seq, ack, window: as on the wire, 0 for UDP. length:
    payload bytes on the wire. raw: all captured bytes, from the link header on. link: the link type,
    as capture files number it.

    The other fields are filled in by `sockfsm.trace.join`. socket, receiver: the traced sockets that
    sent it and got it. cause: why it was sent. relative: (seq, ack) counted from each side's first
    sequence number; ack is None without the flag. states: of a segment that opens or closes a
    connection, the TCP states of (sender, receiver) after it. ignored: it is an unacceptable segment,
    which its receiver must ignore (RFC 9293, 3.10.7; RFC 5961). ended: the blocked call that it ended.
    """

    time: int
    wall: int
    protocol: str
    source: Endpoint
    target: Endpoint
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
        """The first call that asked for it; None where no call did, or that cannot be decided."""
        cause = self.cause
        return cause.calls[0] if cause is not None and cause.who == "call" else None


class Message(NamedTuple):
    """What one send moved through an AF_UNIX socket. No packet exists; the calls of both ends tell.

    receiver: None where that end is not traced. length: bytes. ended: the blocked call that it ended.
    """

    call: Call
    socket: Socket
    receiver: Socket | None
    length: int
    ended: Call | None
