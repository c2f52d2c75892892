"""The summary of one pass over a trace's calls: processes, sockets, and what joins the packets."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from socket import AF_UNIX

from sockfsm.events import Call, Process, Socket, Thread, Wait
from sockfsm.trace.causes import SLACK
from sockfsm.trace.directory import Directory
from sockfsm.trace.unix_wire import Peers
from sockfsm.trace.wakes import Waits, Waker


class Summary:
    """What one pass over `calls` gives; they must be in the order of their ends.

    processes: those that made a call, in the order in which they started; `add_rest` adds the others.
    sockets, states: identity -> socket, and -> its last state. threads: (log, number) -> thread, for
    those that made a call. directory: the sockets by address, and the calls that can cause packets;
    None without `index`. waits: the calls that blocked. peers: the AF_UNIX sockets that are connected.
    blocked: the waits that have not ended, by their begins.

    slack: how far, in ns, a packet's time may be from the time of its call.
    """

    def __init__(
        self, calls: Iterable[Call] = (), *, index: bool = False, slack: int = SLACK
    ) -> None:
        self.processes: list[Process] = []
        self.sockets: dict[str, Socket] = {}
        self.states: dict[str, str] = {}
        self.threads: dict[tuple[str, int], Thread] = {}
        self.directory = Directory(slack=slack) if index else None
        self.waits = Waits()
        self.peers = Peers()
        self.blocked: list[Wait] = []
        self.read(calls)

    def waker(self) -> Waker:
        """Finds which wait each call on an AF_UNIX socket ended; good for one pass."""
        return Waker(self.waits, self.peers)

    def add_rest(self, processes: Iterable[Process], blocked: Iterable[Wait]) -> None:
        """Add what no finished call shows: all processes, and the waits that have not ended."""
        self.processes = sorted(processes, key=attrgetter("started"))
        self.blocked = sorted(blocked, key=attrgetter("begin"))

    def read(self, calls: Iterable[Call]) -> None:
        """Add all calls."""
        sockets, states, threads = self.sockets, self.states, self.threads
        directory = self.directory
        processes: dict[str, Process] = {}
        met: set[Thread] = set()
        for call in calls:
            socket, thread = call.socket, call.thread
            if thread not in met:
                met.add(thread)
                threads[call.process.log, thread.number] = thread
                processes[call.process.log] = call.process
            if socket is not None:
                identity = socket.identity
                # The socket object is the same for all calls and knows its latest addresses: the
                # first is enough.
                if identity not in states:
                    sockets[identity] = socket
                states[identity] = call.after
                if socket.family == AF_UNIX:
                    self.peers.add(call)
            if call.waited:
                self.waits.add(call)
            if directory is not None:
                directory.add(call)
        if directory is not None:
            directory.finish()
        self.waits.finish()
        self.peers.finish()
        self.processes = sorted(processes.values(), key=attrgetter("started"))
