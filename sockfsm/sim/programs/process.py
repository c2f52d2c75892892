"""A simulated process: its threads, its descriptors, how it begins and how it ends."""

from __future__ import annotations

import heapq
import traceback
from collections.abc import Callable
from socket import AF_INET6
from typing import TYPE_CHECKING, Any

from sockfsm.sim.programs.actor import Actor, Gone
from sockfsm.sim.programs.journal import thread
from sockfsm.sim.programs.output import Output
from sockfsm.sim.programs.refused import NotSimulated
from sockfsm.sim.programs.sites import last, strip
from sockfsm.sim.programs.switch import GreenletExit, getcurrent
from sockfsm.sim.sockets import VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.world import World

_FIRST_DESCRIPTOR = 3
_SIX = "::1"
"""The IPv6 address of every host: there is no IPv6 between them."""
WATCHES = frozenset({"select", "poll", "epoll"})
INTERRUPTED = 130


class Process:
    """A process.

    descriptors: what each number stands for. actors: its threads that have not ended; everybody: all
    of them. status: its exit status, None while it runs.
    """

    def __init__(
        self, world: World, name: str, command: tuple[str, ...], host: str,
        emit: Callable[[str, str, str], None],
    ) -> None:  # fmt: skip
        self.world, self.name, self.host = world, name, host
        self.event = world.journal.process(world.ident(), command, world.clock.now)
        self.out, self.err = Output(name, "stdout", emit), Output(name, "stderr", emit)
        self.descriptors: dict[int, object] = {}
        self.actors: list[Actor] = []
        self.everybody: list[Actor] = []
        self.status: int | None = None
        self.interrupted = False
        self._free: list[int] = []
        self._sockets = 0
        self.main: Actor | None = None
        world.processes.append(self)

    def begin(self, body: Callable[[], int]) -> None:
        """Start its main thread. body: gives the exit status."""
        event = thread(self.event, self.event.pid, "MainThread")
        self.main = Actor(self, event, lambda: self._main(body))
        self.everybody.append(self.main)
        self.world.start(self.main)

    def _main(self, body: Callable[[], int]) -> None:
        try:
            self.exit(body())
        except (Gone, GreenletExit):
            pass
        finally:
            if self.main is not None:
                self.world.leave(self.main)

    def spawn(self, deed: Callable[[], None], name: str) -> Actor:
        """A new thread, which runs `deed`."""
        ident = self.world.ident()
        event = thread(self.event, ident, name)

        def run() -> None:
            try:
                deed()
            except (Gone, GreenletExit):
                pass
            finally:
                self.world.leave(actor)

        actor = Actor(self, event, run)
        self.everybody = [*(one for one in self.everybody if not one.greenlet.dead), actor]
        self.world.start(actor)
        return actor

    def exit(self, status: int) -> None:
        """The process ends, whatever its threads do: the kernel closes what is open."""
        if self.status is not None:
            return
        self.status = status
        world = self.world
        self.event.ended = world.clock.now
        assert self.main is not None
        for number in sorted(self.descriptors):
            thing = self.descriptors.pop(number)
            if isinstance(thing, VirtualSocket) and thing.open:
                world.closed(self.main, thing, "exit")
        self.out.end()
        self.err.end()
        for actor in list(self.actors):
            if actor.greenlet is not getcurrent():
                world.leave(actor)
        world.worked()

    def failed(self, error: BaseException, shown: bool = True) -> None:
        """An exception has left the program, or one of its threads."""
        if not isinstance(error, NotSimulated):  # that has been told
            actor = self.world.current
            who = actor.name if actor is not None else self.name
            said = traceback.format_exception_only(type(error), error)[-1].strip()
            self.world.found("exception", last(error), f"{who} ends by {said}")
        if shown:
            self.report(type(error), error, error.__traceback__)

    def report(self, kind: Any, error: Any, tb: Any) -> None:
        """sys.excepthook: the traceback, as the program has it."""
        made = traceback.TracebackException(kind, error, tb)
        strip(made)
        self.err.write("".join(made.format()))

    # Descriptors

    def open(self, thing: object) -> int:
        """The lowest free descriptor, for `thing`."""
        free = self._free
        number = heapq.heappop(free) if free else _FIRST_DESCRIPTOR + len(self.descriptors)
        self.descriptors[number] = thing
        return number

    def take(self, number: int) -> object:
        """Free a descriptor; KeyError where it is none."""
        thing = self.descriptors.pop(number)
        heapq.heappush(self._free, number)
        return thing

    def socket(
        self, kind: str, family: int, proto: int, born: str = "create", parent: str | None = None
    ) -> VirtualSocket:
        """A new socket with a descriptor."""
        self._sockets += 1
        host = _SIX if family == AF_INET6 else self.host
        sock = self.world.journal.socket(
            self.event, self._sockets, kind, family, proto, born, host, parent
        )
        sock.event.descriptor = self.open(sock)
        return sock

    def accepted(self, listener: VirtualSocket) -> VirtualSocket:
        """The data socket that accept() makes."""
        event = listener.event
        return self.socket(listener.kind, event.family, event.proto, "accepted", event.identity)

    # How it ends

    @property
    def serving(self) -> bool:
        """Whether it waits for clients, or for datagrams of whoever sends some."""
        return any(actor.waits and self._serves(actor) for actor in self.actors)

    def _serves(self, actor: Actor) -> bool:
        thing, about = actor.about
        if about == "accept":
            return True
        watched = [thing] if about == "recv" else thing if about in WATCHES else None
        if not isinstance(watched, (list, tuple)):
            return False
        return all(isinstance(s, VirtualSocket) and self._awaits_anybody(s) for s in watched)

    def _awaits_anybody(self, sock: VirtualSocket) -> bool:
        if sock.kind == "udp" or sock.kind == "unix-dgram" or sock.listening:
            return True
        peer = sock.end.peer.owner if sock.end is not None and sock.end.peer is not None else None
        return peer is not None and peer.event.process is self.event

    def interrupt(self) -> bool:
        """Ctrl-C, once: KeyboardInterrupt in the main thread. Whether that can change anything."""
        main = self.main
        if self.interrupted or main is None or not main.waits:
            return False
        self.interrupted = True
        main.pending = KeyboardInterrupt()
        main.waits = False
        self.world.ready.append(main)
        return True
