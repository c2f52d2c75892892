"""What the programs of a run are remembered by: the same events as a real run's."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sockfsm.events import Call, Packet, Process, Socket, Thread, Wait
from sockfsm.model.errnos import errno_number
from sockfsm.record.names import label
from sockfsm.sim.network import EPOCH
from sockfsm.sim.programs.sites import site
from sockfsm.sim.recorder import NO_ERRNO, NUMBERS, refusal
from sockfsm.sim.sockets import Answer, Request, VirtualSocket
from sockfsm.trace.source import MemoryTrace

if TYPE_CHECKING:
    from sockfsm.sim.programs.actor import Actor

_refusal = lru_cache(1 << 12)(refusal)


class Journal:
    """Makes the processes and sockets of a run, and writes its calls down."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._processes: list[Process] = []
        self._calls: list[Call] = []
        self._blocked: list[Wait] = []

    def process(self, pid: int, command: tuple[str, ...], now: int) -> Process:
        """A process that begins now."""
        log = f"{pid}-0.calls"
        process = Process(pid, 1, log, command, EPOCH, now, name=label(pid, log))
        self._processes.append(process)
        return process

    def socket(
        self, process: Process, number: int, kind: str, family: int, proto: int, born: str,
        host: str, parent: str | None = None,
    ) -> VirtualSocket:  # fmt: skip
        """A socket; it has no descriptor yet."""
        type_ = NUMBERS[kind][1]
        event = Socket(
            f"{process.name}.{number}", number, process, kind, family, int(type_), proto, -1,
            born, parent,
        )  # fmt: skip
        return VirtualSocket(kind, event, host, born)

    def call(
        self, actor: Actor, sock: VirtualSocket | None, request: Request, answer: Answer,
        begin: int, end: int, waited: bool,
    ) -> None:  # fmt: skip
        """Write a finished call down, and the birth of what it made."""
        event = None
        refused = ""
        if sock is not None:
            event = sock.event
            if sock.name is not event.local or sock.target is not event.remote:
                event.local, event.remote = sock.name or event.local, sock.target or event.remote
            refused = _refusal(event.kind, answer.before, request.method, request.word)
        outcome, thread = answer.outcome, actor.thread
        place = site()
        self._calls.append(
            Call(
                begin, end, actor.process.event, thread, event, request.method, request.word,
                outcome, 0 if outcome in NO_ERRNO else errno_number(outcome),
                len(request.data) or request.size, answer.done, answer.address, place,
                answer.before, answer.after, waited, True, False, refused,
            )
        )  # fmt: skip
        data = answer.value
        if isinstance(data, VirtualSocket):
            data.event.local, data.event.remote = data.name, data.target
            self._calls.append(
                Call(
                    end, end, actor.process.event, thread, data.event, "accepted", "accepted",
                    "ok", 0, 0, 0, data.target, place, "START", data.state, False, True, False, "",
                )
            )  # fmt: skip

    def blocked(self, actor: Actor) -> None:
        """A wait for a socket that never ended."""
        thing, word = actor.about
        if isinstance(thing, VirtualSocket):
            self._blocked.append(
                Wait(actor.begun, None, actor.thread, thing.event, word, actor.site)
            )

    def trace(self, packets: list[Packet]) -> MemoryTrace:
        """The run as a trace."""
        from sockfsm.trace.about import About

        facts = About(capture="the simulated network", network="simulated")
        return MemoryTrace(
            self._calls, packets, blocked=self._blocked, processes=self._processes, facts=facts,
            name=self._title,
        )  # fmt: skip


def thread(process: Process, ident: int, name: str) -> Thread:
    """A new thread of a process."""
    number = len(process.threads) + 1
    made = process.threads[number] = Thread(number, ident, name)
    return made
