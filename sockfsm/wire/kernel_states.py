"""Records the kernel's own TCP states through the event `sock:inet_sock_set_state`; needs root.

They are recorded in a tracing instance of our own (`sockfsm.wire.tracefs`). The kernel keeps TIME_WAIT
in a smaller socket, which this event does not cover: it reports CLOSE instead. Source:
include/trace/events/sock.h.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from socket import inet_ntoa
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

from sockfsm import private
from sockfsm import tcp_names as tcp
from sockfsm.errors import SockfsmError

if TYPE_CHECKING:
    from sockfsm.wire.tracefs import Instance

FILE = "tcp-states.jsonl"
EVENT = "events/sock/inet_sock_set_state"
BUFFER_KB = 4096  # on each CPU: some 40,000 changes of state

THIN = 20_000  # changes in memory from which on those of untraced sockets are dropped
MOST = 200_000  # changes in memory at most; the oldest go
_READS = 1 << 10  # reads in one go: the kernel may write as fast as we read
# A connection that ended less than this (ns) ago is kept in any case: its call may not be logged yet.
GRACE = 2_000_000_000

# The kernel's numbers (include/net/tcp_states.h). It has two states for SYN-RECEIVED: 12 is that of a
# socket whose three-way handshake is under way in a listener's queue.
_STATES = {
    1: tcp.ESTABLISHED,
    2: tcp.SYN_SENT,
    3: tcp.SYN_RECEIVED,
    4: tcp.FIN_WAIT_1,
    5: tcp.FIN_WAIT_2,
    6: tcp.TIME_WAIT,
    7: tcp.CLOSED,
    8: tcp.CLOSE_WAIT,
    9: tcp.LAST_ACK,
    10: tcp.LISTEN,
    11: tcp.CLOSING,
    12: tcp.SYN_RECEIVED,
}
_LINE = re.compile(
    r"^\s*.{1,16}-(?P<pid>\d+)\s+\[\d+\] \S+\s+(?P<seconds>\d+)\.(?P<micros>\d{6}): "
    r"inet_sock_set_state: (?P<fields>.*)$"
)
_FIELD = re.compile(r"(\w+)=(0x[0-9a-f]+)")


class KernelStatesError(SockfsmError):
    """The kernel's states cannot be recorded. The message says why."""


class KernelState(NamedTuple):
    """One change of a TCP state in the kernel.

    time: monotonic ns, in steps of 1,000. sock: a number for the kernel's socket. source, target: this
    end and the other one; hosts are '' for IPv6, and the local port is 0 until the kernel assigns one.
    """

    time: int
    sock: int
    pid: int
    before: str
    after: str
    source: tuple[str, int]
    target: tuple[str, int]


class Recorded(NamedTuple):
    """How many changes were written, lost because the kernel's buffer was full, and dropped as old."""

    changes: int
    lost: int
    old: int

    def __str__(self) -> str:
        old = f", the oldest {self.old} left out" if self.old else ""
        return f"{self.changes} changes of state{old}, {self.lost} lost"


class KernelStates:
    """A running record. Begin with `start`, end with `stop`, and `drain` it every second or so."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._rest = b""
        self._numbers: dict[int, int] = {}
        self._running: dict[int, list[KernelState]] = {}  # sock -> its current connection's changes
        self._ended: deque[list[KernelState]] = deque()
        self._held = 0
        self._again = THIN
        self._old = 0

    @classmethod
    def start(cls) -> KernelStates:
        """Record from now on. KernelStatesError where that is not possible."""
        if not sys.platform.startswith("linux"):
            raise KernelStatesError("the kernel's TCP states can be recorded on Linux only")
        from sockfsm.wire.tracefs import Instance, TracefsError

        try:
            instance = Instance()
        except TracefsError as refusal:
            raise KernelStatesError(str(refusal)) from None
        try:
            for file, text in (
                ("trace_clock", "mono"),  # the clock of our calls
                ("buffer_size_kb", str(BUFFER_KB)),
                ("options/fields", "1"),  # raw numbers by name, not a formatted line
                ("options/hash-ptr", "0"),  # the socket's address identifies it
                (f"{EVENT}/filter", "protocol==6 && (family==2 || family==10)"),
                (f"{EVENT}/enable", "1"),
            ):
                instance.write(file, text)
        except OSError as error:
            instance.remove()
            raise KernelStatesError(f"this kernel does not report TCP states: {error}") from None
        return cls(instance)

    def drain(self, whose: Callable[[], Callable[[list[KernelState]], bool]] | None = None) -> None:
        """Move what the kernel has recorded since the last time out of its buffer.

        whose: called when much has piled up; returns a test as `stop` takes for `wanted`, and changes
        that fail it are dropped.
        """
        self._take()
        if self._held > self._again:
            if whose is not None:
                self._thin(whose())
            while self._held > MOST and self._ended:
                oldest = self._ended.popleft()
                self._old += len(oldest)
                self._held -= len(oldest)
            # Thinning looks at everything that is held: wait until that has doubled.
            self._again = max(self._held + THIN, min(2 * self._held, MOST))

    def _take(self) -> bool:
        """Read some; True if there may be more."""
        for _ in range(_READS):
            data = self._instance.read()
            if not data:
                return False
            lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
            for state in parse(
                (lines + newline).decode(errors="replace").split("\n"), self._numbers
            ):
                self._add(state)
        return True

    def _add(self, state: KernelState) -> None:
        life = self._running.get(state.sock)
        # The kernel reuses a socket's memory, and with it the address that we know it by.
        if life and _begins(state, life):
            self._ended.append(life)
            life = None
        if life is None:
            life = self._running[state.sock] = []
        life.append(state)
        self._held += 1

    def _thin(self, wanted: Callable[[list[KernelState]], bool]) -> None:
        """Drop the ended connections that are not wanted, once they are old enough to judge."""
        until = time.monotonic_ns() - GRACE
        over = [s for s, life in self._running.items() if life[-1].after == tcp.CLOSED]
        for sock in over:
            self._ended.append(self._running.pop(sock))
        ended = [life for life in self._ended if life[-1].time > until or wanted(life)]
        self._ended = deque(sorted(ended, key=lambda life: life[-1].time))
        self._held = sum(map(len, self._ended)) + sum(map(len, self._running.values()))

    def stop(
        self, path: Path, wanted: Callable[[list[KernelState]], bool] | None = None
    ) -> Recorded:
        """Stop recording, and write what was recorded to `path`.

        wanted: called with all changes of a connection; says whether to keep them. The kernel reports
        every socket of the machine. KernelStatesError where the file cannot be written.
        """
        try:
            self._instance.write(f"{EVENT}/enable", "0")
            # The buffer may hold more than one go reads.
            while self._take():
                continue
            lost = self._instance.lost()
            recorded = [*self._ended, *self._running.values()]
            states = [s for life in recorded if wanted is None or wanted(life) for s in life]
            states.sort(key=attrgetter("time"))
            with os.fdopen(private.create(path), "w") as file:
                file.write(json.dumps({"lost": lost}) + "\n")
                file.writelines(json.dumps(state) + "\n" for state in states)
        except OSError as error:
            raise KernelStatesError(f"cannot write the kernel's states: {error}") from None
        finally:
            self._instance.remove()
        return Recorded(len(states), lost, self._old)


def parse(lines: Iterable[str], numbers: dict[int, int] | None = None) -> Iterator[KernelState]:
    """Yield the changes among the lines of a `trace` file, written with its `fields` option.

    numbers: kernel address of a socket -> its number. New sockets are added.
    """
    numbers = {} if numbers is None else numbers
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        values = {name: int(value, 16) for name, value in _FIELD.findall(match["fields"])}
        # An older or newer kernel may have other fields. A line without these tells nothing.
        if not {"skaddr", "oldstate", "newstate", "sport", "dport"} <= values.keys():
            continue
        four = values.get("family") == 2
        hosts = [_host(values.get(name, 0)) if four else "" for name in ("saddr", "daddr")]
        yield KernelState(
            int(match["seconds"]) * 1_000_000_000 + int(match["micros"]) * 1000,
            numbers.setdefault(values["skaddr"], len(numbers) + 1),
            int(match["pid"]),
            _STATES.get(values["oldstate"], "?"),
            _STATES.get(values["newstate"], "?"),
            (hosts[0], values["sport"]),
            (hosts[1], values["dport"]),
        )


def lives(states: Iterable[KernelState]) -> Iterator[list[KernelState]]:
    """Group the changes by connection. A life ends with CLOSED: the kernel then reuses the memory."""
    running: dict[int, list[KernelState]] = {}
    for state in states:
        life = running.get(state.sock)
        if life and _begins(state, life):
            yield life
            life = None
        if life is None:
            life = running[state.sock] = []
        life.append(state)
    yield from running.values()


def _begins(state: KernelState, life: list[KernelState]) -> bool:
    return state.before in (tcp.CLOSED, tcp.LISTEN) and life[-1].after == tcp.CLOSED


def with_ports(states: Iterable[KernelState]) -> list[KernelState]:
    """The changes by time; the first ones of a socket get the ports that it had later.

    To SYN-SENT it goes before the kernel chooses a port: it has none, or that of an attempt before.

    Repetitions are left out: on close() in FIN-WAIT-1 or CLOSING the kernel reports that state again.
    """
    changes: list[KernelState] = []
    for life in lives(states):
        chosen = (s for s in life if s.source[1] and s.target[1] and s.after != tcp.SYN_SENT)
        named = next(chosen, life[-1])
        changes += [
            s
            if s.source[1] and s.after != tcp.SYN_SENT
            else s._replace(source=named.source, target=named.target)
            for s in life
            if s.before != s.after
        ]
    return sorted(changes, key=attrgetter("time"))


def _host(number: int) -> str:
    return inet_ntoa(pack("=I", number & 0xFFFFFFFF))
