"""Short names for the actors of a trace: sockets as #3, processes as p1, threads by their name."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.trace.directory import End, end_of
from sockfsm.trace.events import Call, Process, Socket, Thread
from sockfsm.views.text import cut, plain

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_TARGET = re.compile(r"^(Thread-\d+) \(.*\)$")
_NAME_COLUMNS = 12


class Lanes:
    """The names of one trace's lanes, numbered in the order in which they first come up.

    processes, sockets: those that made a call, as they stood when this was made; each look at a
    trace reads its files anew. states: identity -> the last state then. A socket that appears later,
    while the program runs, gets the next number. index: packets are asked for next.
    """

    def __init__(self, trace: TraceSource, *, index: bool = False) -> None:
        told = trace.summary(index=index)
        self.sockets = dict(told.sockets)
        self.states = told.states
        self._threads = told.threads
        met = {log for log, _ in told.threads}
        self.processes = [p for p in told.processes if p.log in met] or told.processes
        self._sockets: dict[str, str] = {}
        self._processes: dict[str, str] = {}
        self._accepted: dict[str, deque[Socket]] = {}
        for process in self.processes:
            self.process(process)
        for socket in self.sockets.values():
            self.socket(socket)
            if socket.made_by == "accepted" and socket.parent is not None:
                self._accepted.setdefault(socket.parent, deque()).append(socket)
        self._peers = _pairs(self.sockets.values())
        self.lonely = len(self.processes) <= 1

    def socket(self, socket: Socket | None) -> str:
        """`#3`; `-` for None."""
        if socket is None:
            return "-"
        name = self._sockets.get(socket.identity)
        if name is None:
            name = self._sockets[socket.identity] = f"#{len(self._sockets) + 1}"
        return name

    def name_of(self, identity: str) -> str:
        """`#3` for an identity that was met; the identity itself for another."""
        return self._sockets.get(identity, identity)

    def process(self, process: Process) -> str:
        """`p1`."""
        name = self._processes.get(process.log)
        if name is None:
            name = self._processes[process.log] = f"p{len(self._processes) + 1}"
        return name

    def who(self, process: Process, thread: Thread) -> str:
        """`main`, `Thread-1`; with more than one process `p2 main`."""
        name = thread_name(thread)
        if self.lonely and len(self._processes) <= 1:
            return name
        return f"{self.process(process)} {name}"

    def who_columns(self) -> int:
        """Columns that the known names take."""
        names = [
            len(self.who(process, thread))
            for process in self.processes
            for thread in self.threads_of(process)
        ]
        return max(names, default=4)

    def threads_of(self, process: Process) -> list[Thread]:
        """The threads of a process that made a call."""
        return [thread for (log, _), thread in self._threads.items() if log == process.log]

    def made_by(self, call: Call) -> Socket | None:
        """The data socket that this `accept` made; ask once for each accept, in their order."""
        if call.call != "accept" or call.outcome != "ok" or call.socket is None:
            return None
        waiting = self._accepted.get(call.socket.identity, ())
        found = next((socket for socket in waiting if socket.remote == call.address), None)
        if found is not None:
            self._accepted[call.socket.identity].remove(found)
        return found

    def identities(self, wanted: list[str]) -> frozenset[str]:
        """The sockets that `--socket` names, as #3, 3 or <pid>.<number>. UsageError for others."""
        by_name = {name: identity for identity, name in self._sockets.items()}
        found = set()
        for word in wanted:
            identity = word if word in self._sockets else by_name.get("#" + word.lstrip("#"))
            if identity is None:
                raise UsageError(
                    f"no socket {plain(word)} in this trace: it has "
                    + (f"#1 to #{len(self._sockets)}" if self._sockets else "none")
                )
            found.add(identity)
        return frozenset(found)

    def ports(self, wanted: list[int]) -> frozenset[int]:
        """The ports that `--port` names. UsageError for one that no socket of the trace has."""
        known = {
            end[1]
            for socket in self.sockets.values()
            for name in (socket.local, socket.remote)
            if (end := end_of(name)) is not None
        }
        for port in wanted:
            if port not in known:
                listed = sorted(port for port in known if port)
                raise UsageError(
                    f"no socket has port {port} in this trace: it has "
                    + (", ".join(map(str, listed[:20])) or "none")
                    + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
                )
        return frozenset(wanted)

    def threads(self, wanted: list[str]) -> frozenset[tuple[int, int]]:
        """(pid, number) of the threads that `--thread` names: `main`, `p2 main`, `p2`, an ident."""
        found, names = set(), set()
        for process in self.processes:
            for thread in self.threads_of(process):
                short = thread_name(thread)
                lane = self.process(process)
                names.add(self.who(process, thread))
                spelled = {short, thread.name, f"{lane} {short}", lane, str(thread.ident)}
                if spelled & set(wanted):
                    found.add((process.pid, thread.number))
        if not found:
            raise UsageError(
                f"no thread {plain(' or '.join(wanted))} in this trace: it has "
                + (", ".join(sorted(names)) or "none")
            )
        return frozenset(found)

    def peer(self, socket: Socket) -> Socket | None:
        """The traced socket at the other end of a connection."""
        return self._peers.get(socket.identity)


def _pairs(sockets: Iterable[Socket]) -> dict[str, Socket]:
    """Identity -> the traced socket at the other end: the n-th use of these ends with the n-th."""
    # By the own port: an accepted socket may have its listener's wildcard for a host.
    known: dict[tuple[str, int, End], list[Socket]] = {}
    for socket in sockets:
        local, remote = end_of(socket.local), end_of(socket.remote)
        if local and remote:
            known.setdefault((socket.kind, local[1], remote), []).append(socket)
    peers: dict[str, Socket] = {}
    for (kind, _, remote), nears in known.items():
        for number, near in enumerate(nears):
            local = end_of(near.local)
            fars = known.get((kind, remote[1], local), ()) if local else ()
            if number < len(fars):
                far = fars[number]
                peers[near.identity], peers[far.identity] = far, near
    return peers


def thread_name(thread: Thread) -> str:
    """The thread's name, escaped, short: `main` for MainThread, `Thread-1` without its target."""
    if thread.name == "MainThread":
        return "main"
    match = _TARGET.match(thread.name)
    return cut(plain(match[1] if match else thread.name), _NAME_COLUMNS) or str(thread.ident)
