"""What a simulated run is remembered by: the same events as a real one's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from sockfsm.events import Call, Packet, Process, Site, Socket, Thread, Wait
from sockfsm.model.compiled import FACTS
from sockfsm.model.errnos import errno_number
from sockfsm.model.shipped import shipped
from sockfsm.record.names import label
from sockfsm.sim.clock import START
from sockfsm.sim.network import EPOCH
from sockfsm.sim.sockets import Answer, Request, VirtualSocket
from sockfsm.trace.source import MemoryTrace

if TYPE_CHECKING:
    from sockfsm.sim.run import Player
    from sockfsm.sim.scenario import Scenario
    from sockfsm.trace.about import About

_FIRST_PID, _FIRST_DESCRIPTOR = 1001, 3
NUMBERS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}
NO_ERRNO = frozenset({"ok", "eof", "deferred", "timeout"})


class Recorder:
    """Makes the processes and sockets of a run, and writes its calls down."""

    def __init__(self, scenario: Scenario) -> None:
        self._file, self._title = scenario.file, scenario.title
        self._processes: dict[str, Process] = {}
        self._hosts: dict[Process, str] = {}
        self._numbers: dict[Process, int] = {}
        self._calls: list[Call] = []
        self._blocked: list[Wait] = []
        self._sockets: list[VirtualSocket] = []
        for place, actor in enumerate(scenario.actors):
            pid = _FIRST_PID + place
            log = f"{pid}-0.calls"
            name = label(pid, log)
            process = Process(pid, 1, log, (scenario.file, actor.name), EPOCH, START, name=name)
            process.threads[1] = Thread(1, pid, "MainThread")
            self._processes[actor.name] = process
            self._hosts[process] = actor.host

    def process(self, player: Player) -> Process:
        """An actor's process."""
        return self._processes[player.actor.name]

    def is_of(self, player: Player) -> Callable[[VirtualSocket], bool]:
        """Tells whether a socket is of the actor's process."""
        process = self.process(player)
        return lambda sock: sock.event.process is process

    def socket(self, player: Player, kind: str) -> VirtualSocket:
        """A socket that the actor makes."""
        return self._new(self.process(player), kind, "create", None)

    def data_socket(self, listener: VirtualSocket) -> VirtualSocket:
        """One that accept() makes."""
        event = listener.event
        return self._new(event.process, listener.kind, "accepted", event.identity)

    def _new(self, process: Process, kind: str, born: str, parent: str | None) -> VirtualSocket:
        number = self._numbers[process] = self._numbers.get(process, 0) + 1
        used = {s.event.descriptor for s in self._sockets if s.open and s.event.process is process}
        descriptor = _FIRST_DESCRIPTOR
        while descriptor in used:
            descriptor += 1
        family, type_ = NUMBERS[kind]
        if ":" in self._hosts[process] and family == socket.AF_INET:
            family = socket.AF_INET6
        event = Socket(
            f"{process.name}.{number}", number, process, kind, int(family), int(type_), 0,
            descriptor, born, parent,
        )  # fmt: skip
        sock = VirtualSocket(kind, event, self._hosts[process], born)
        self._sockets.append(sock)
        return sock

    def call(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer,
        end: int, waited: bool,
    ) -> None:  # fmt: skip
        """Write a finished call down, and the birth of what it made."""
        process = self.process(player)
        steps = player.actor.steps
        line = steps[min(player.place, len(steps) - 1)].line if steps else player.actor.line
        site = Site(self._file, line, player.actor.name)
        event = sock.event if sock is not None else None
        if sock is not None and sock.open:
            sock.event.local, sock.event.remote = sock.name, sock.target
        refused = refusal(event.kind, answer.before, request.method, request.word) if event else ""
        number = 0 if answer.outcome in NO_ERRNO else errno_number(answer.outcome)
        asked = len(request.data) or request.size
        self._calls.append(
            Call(
                player.begun, end, process, process.threads[1], event, request.method,
                request.word, answer.outcome, number, asked, answer.done, answer.address, site,
                answer.before, answer.after, waited, True, False, refused,
            )
        )  # fmt: skip
        if isinstance(answer.value, VirtualSocket):
            data = answer.value
            data.event.local, data.event.remote = data.name, data.target
            self._calls.append(
                Call(
                    end, end, process, process.threads[1], data.event, "accepted", "accepted",
                    "ok", 0, 0, 0, data.target, site, "START", data.state, False, True, False, "",
                )
            )  # fmt: skip

    def blocked(self, player: Player, sock: VirtualSocket) -> None:
        """A call that never returned."""
        process = self.process(player)
        site = Site(self._file, player.step.line, player.actor.name)
        assert player.request is not None
        method = player.request.method
        wait = Wait(player.begun, None, process.threads[1], sock.event, method, site)
        self._blocked.append(wait)

    def trace(self, packets: list[Packet]) -> MemoryTrace:
        """The run as a trace."""
        return MemoryTrace(
            self._calls, packets, blocked=self._blocked,
            processes=self._processes.values(), facts=_facts, name=self._title or self._file,
        )  # fmt: skip


def _facts() -> About:
    from sockfsm.trace.about import About

    return About(capture="the simulated network", network="simulated")


@lru_cache(1 << 12)
def refusal(kind: str, state: str, method: str, word: str) -> str:
    """The errno by which the machine refuses the call in `state`, as a tracer would say it."""
    compiled = shipped(kind)
    if state not in compiled.refusals:
        return ""
    return compiled.refusal(state, method if method in FACTS else word)
