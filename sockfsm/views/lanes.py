"""Short names for the actors of a trace: #3 for a socket, p1 for a process, a name for a thread."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.events import Call, Endpoint, Process, Socket, Thread
from sockfsm.trace.directory import end_of
from sockfsm.views.text import cut, plain

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_TARGET = re.compile(r"^(Thread-\d+) \(.*\)$")
_NAME_COLUMNS = 12


class Lanes:
    """The names of one trace's sockets, processes and threads, numbered as they first appear.

    summary: the trace's summary. processes, sockets: those that made a call. states: identity -> last
    state. lonely: there is at most one process. All are as they were when this was made; a socket that
    appears later, while the program runs, gets the next number. index: build the summary's index, if
    packets will be read next.
    """

    def __init__(self, trace: TraceSource, *, index: bool = False) -> None:
        self.summary = summary = trace.summary(index=index)
        self.sockets = dict(summary.sockets)
        self.states = summary.states
        self._threads = summary.threads
        met = {log for log, _ in summary.threads}
        self.processes = [p for p in summary.processes if p.log in met] or summary.processes
        self._sockets: dict[str, str] = {}
        self._processes: dict[str, str] = {}
        self._accepted: dict[str, deque[Socket]] = {}
        for process in self.processes:
            self.process(process)
        for socket in self.sockets.values():
            self.socket(socket)
            if socket.made_by == "accepted" and socket.parent is not None:
                # In the order in which they were made, which is that of the accepts.
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
        """`#3` for a known identity; any other identity as it is."""
        return self._sockets.get(identity, identity)

    def process(self, process: Process) -> str:
        """`p1`."""
        name = self._processes.get(process.log)
        if name is None:
            name = self._processes[process.log] = f"p{len(self._processes) + 1}"
        return name

    def who(self, process: Process, thread: Thread) -> str:
        """`main`, `Thread-1`; if there are several processes, `p2 main`."""
        name = thread_name(thread)
        # Another process may have appeared since, if the program still runs.
        if self.lonely and len(self._processes) <= 1:
            return name
        return f"{self.process(process)} {name}"

    def who_columns(self) -> int:
        """The columns that the longest of the known names needs."""
        names = [
            len(self.who(process, thread))
            for process in self.processes
            for thread in self.threads_of(process)
        ]
        return max(names, default=4)

    def threads_of(self, process: Process) -> list[Thread]:
        """The threads of a process that have made a call."""
        return [thread for (log, _), thread in self._threads.items() if log == process.log]

    def made_by(self, call: Call) -> Socket | None:
        """The data socket that this `accept` made. Ask once for each accept, in their order."""
        if call.call != "accept" or call.outcome != "ok" or call.socket is None:
            return None
        waiting = self._accepted.get(call.socket.identity, ())
        made = next((socket for socket in waiting if socket.remote == call.address), None)
        if made is not None:
            self._accepted[call.socket.identity].remove(made)
        return made

    def identities(self, wanted: list[str]) -> frozenset[str]:
        """The sockets named `#3`, `3` or `<pid>.<number>`. UsageError for an unknown name."""
        by_name = {name: identity for identity, name in self._sockets.items()}
        chosen = set()
        for word in wanted:
            identity = word if word in self._sockets else by_name.get("#" + word.lstrip("#"))
            if identity is None:
                raise UsageError(
                    f"no socket {plain(word)} in this trace: it has "
                    + (f"#1 to #{len(self._sockets)}" if self._sockets else "none")
                )
            chosen.add(identity)
        return frozenset(chosen)

    def ports(self, wanted: list[int]) -> frozenset[int]:
        """The same ports as a set. UsageError for a port that no socket of the trace has."""
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
        """(pid, number) of the threads named `main`, `p2 main`, `p2` or by ident.

        UsageError if there is none.
        """
        chosen, names = set(), set()
        for process in self.processes:
            for thread in self.threads_of(process):
                short = thread_name(thread)
                lane = self.process(process)
                names.add(self.who(process, thread))
                spelled = {short, thread.name, f"{lane} {short}", lane, str(thread.ident)}
                if spelled & set(wanted):
                    chosen.add((process.pid, thread.number))
        if not chosen:
            raise UsageError(
                f"no thread {plain(' or '.join(wanted))} in this trace: it has "
                + (", ".join(sorted(names)) or "none")
            )
        return frozenset(chosen)

    def peer(self, socket: Socket) -> Socket | None:
        """The traced socket at the other end of a connection; None if it is not traced."""
        return self._peers.get(socket.identity)


def _pairs(sockets: Iterable[Socket]) -> dict[str, Socket]:
    """Identity -> the traced socket at the other end.

    If ports are used again, the n-th socket of one end belongs to the n-th of the other.
    """
    # The local host is left out: an accepted socket may only know its listener's wildcard.
    known: dict[tuple[str, int, Endpoint], list[Socket]] = {}
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
    """The thread's name, short and escaped: `main` for MainThread, `Thread-1` without its target."""
    if thread.name == "MainThread":
        return "main"
    match = _TARGET.match(thread.name)
    return cut(plain(match[1] if match else thread.name), _NAME_COLUMNS) or str(thread.ident)
