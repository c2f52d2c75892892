"""What one pass over a trace's calls tells: who ran, with which sockets, and what joins the wire."""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.trace.events import Call, Process, Socket, Thread, Wait
from sockfsm.trace.index import Index
from sockfsm.trace.unix_wire import Peers
from sockfsm.trace.wakes import Waits, Waker


class Summary:
    """Add the calls in the order of their ends; `finish` after the last one.

    processes: those that made a call; `Trace.summary` sets all, the first started first. sockets,
    states: identity -> socket, and its last state. threads: (log, number) -> those that made a call.
    index: the calls that can cause packets, when they were asked for. waits, peers: what can end by
    a packet, and the ends of AF_UNIX sockets. ended, blocked: `Wait`s, by their begins.
    """

    def __init__(self, calls: Iterable[Call] = (), *, index: bool = False) -> None:
        self.processes: list[Process] = []
        self.sockets: dict[str, Socket] = {}
        self.states: dict[str, str] = {}
        self.threads: dict[tuple[str, int], Thread] = {}
        self.index = Index() if index else None
        self.waits = Waits()
        self.peers = Peers()
        self.ended: list[Wait] = []
        self.blocked: list[Wait] = []
        self.read(calls)

    def waker(self) -> Waker:
        """Tells of each event which wait it ended; of no packet without the index."""
        return Waker(self.index or Index(), self.waits, self.peers)

    def read(self, calls: Iterable[Call]) -> None:
        """Take in all calls."""
        sockets, states, threads, index = self.sockets, self.states, self.threads, self.index
        processes: dict[str, Process] = {}
        for call in calls:
            process, thread, socket = call.process, call.thread, call.socket
            key = process.log, thread.number
            if threads.get(key) is not thread:
                threads[key] = thread
                processes[process.log] = process
            if socket is not None:
                identity = socket.identity
                sockets[identity] = socket
                states[identity] = call.after
                self.peers.add(call)
            if call.waited:
                self.waits.add(call)
            if index is not None:
                index.add(call)
        if index is not None:
            index.finish()
        self.waits.finish()
        self.peers.finish()
        self.processes = sorted(processes.values(), key=lambda process: process.started)
