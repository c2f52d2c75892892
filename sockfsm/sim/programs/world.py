"""The simulated world in which programs run: who can go on, who waits for what, and what time it is.

One actor runs at a time, on a greenlet of its own. Before every call stands a point where the
scheduler decides who goes next; a call that has to wait lets the others run, and time passes only
then, and by what calls cost. Nothing here depends on the real clock, on addresses or on hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from sockfsm.events import Site
from sockfsm.sim.clock import Clock
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.network import Rules
from sockfsm.sim.programs.actor import Actor, Gone
from sockfsm.sim.programs.journal import Journal
from sockfsm.sim.programs.scheduler import Scheduler
from sockfsm.sim.programs.sites import site
from sockfsm.sim.programs.switch import getcurrent
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.process import Process

COST = 10_000
"""ns that a call takes which does not wait."""
RETURN = 2_000
"""ns from what ends a wait to the call's return."""
QUICK = 1_000
"""ns that a call takes which concerns nobody else."""
GAP = 1_000
"""ns between a call's return and the next call."""
GLANCE = 1_000
"""ns that a look at the clock or at a lock takes: a program that waits by looking gets there."""
IDLE = 60_000_000_000
"""ns without work after which programs that only look again and again are taken to be idle."""
_REFUSALS = 100


@dataclass
class Finding:
    """Something that is wrong with a program. kind: `exception`, `deadlock`, `unsupported`, `limit`."""

    kind: str
    site: Site | None
    text: str

    def __str__(self) -> str:
        return f"{self.site}: {self.text}" if self.site else self.text


@dataclass(frozen=True)
class Limits:
    """calls: of all actors. time: virtual ns. patience: real seconds without a call, 0: for ever."""

    calls: int = 1_000_000
    patience: float = 0.0
    time: int = 86_400_000_000_000


class World:
    """What the programs of a run share.

    ready: the actors that can go on, who runs included. over: the run has ended, nobody may go on.
    """

    def __init__(
        self, scheduler: Scheduler, random: Random, rules: Rules, limits: Limits, title: str
    ) -> None:
        self.clock = Clock()
        self.random = random
        self.hosts: dict[str, str] = {}
        self.journal = Journal(title)
        self.kernel = Kernel(self.clock, random, rules, self._woken, self._data_socket)
        self.processes: list[Process] = []
        self.expected = 0
        self.findings: list[Finding] = []
        self.ready: list[Actor] = []
        self.current: Actor | None = None
        self.over = False
        self.calls = 0
        self._limits = limits
        self._last = self.clock.now + limits.time
        self._choose = scheduler.choose
        self._waiting: dict[object, list[Actor]] = {}
        self._work = 0
        self._worked = self.clock.now
        self._ident = 1000
        self._hub = getcurrent()

    def ident(self) -> int:
        """A number for a new process or thread."""
        self._ident += 1
        return self._ident

    # Who runs

    def start(self, actor: Actor) -> None:
        """A new actor can run."""
        actor.greenlet.parent = self._hub
        actor.process.actors.append(actor)
        self.ready.append(actor)

    def me(self) -> Actor:
        """Who runs."""
        actor = self.current
        if actor is None:
            raise Gone  # something is collected when its world has ended
        if actor.gone or self.over:
            self._refuse(actor)
        return actor

    def point(self, on: object, about: str) -> Actor:
        """Before a call: let the scheduler decide who goes next. Returns the caller's actor."""
        me = self.me()
        self.calls += 1
        if self.calls > self._limits.calls:
            self._stop(f"{self._limits.calls} calls")
        me.about = (on, about)
        if len(self.ready) > 1:
            self._switch(me)
        return me

    def spend(self, time: int) -> None:
        """Let time pass in which nobody else runs."""
        clock = self.clock
        clock.advance(clock.now + time)
        if clock.now > self._last:
            self._stop(f"{self._limits.time / 1e9:g} simulated seconds")

    def taken(self, cost: int) -> int:
        """A call has taken `cost`: when it ended. The next one begins a moment later."""
        self.spend(cost + GAP)
        return self.clock.now - GAP

    def park(self, on: Iterable[object], deadline: int | None = None) -> bool:
        """Wait until something of `on` wakes the caller. False where the deadline came first."""
        me = self.me()
        ready, waiting, clock = self.ready, self._waiting, self.clock
        if deadline is not None and deadline <= clock.now:
            return False
        things = tuple(on)
        for thing in things:
            waiting.setdefault(thing, []).append(me)
        timer = None
        me.waits, me.expired, me.deadline = True, False, deadline
        me.site, me.begun = site(), clock.now
        if deadline is not None:
            timer = clock.at(deadline, lambda: self._expire(me), background=False)
        ready.remove(me)
        try:
            self._switch(me)
        finally:
            me.waits, me.deadline = False, None
            if timer is not None:
                timer.cancelled = True
            for thing in things:
                others = waiting[thing]
                others.remove(me)
                if not others:
                    del waiting[thing]
        return not me.expired

    def wake(self, thing: object) -> None:
        """Those who wait for `thing` can go on."""
        for actor in self._waiting.get(thing, ()):
            self._resume(actor)

    def worked(self) -> None:
        """Somebody's work went on."""
        self._work += 1
        self._worked = self.clock.now

    def _resume(self, actor: Actor) -> None:
        if actor.waits:
            actor.waits = False
            self.ready.append(actor)

    def _expire(self, actor: Actor) -> None:
        if not actor.waits:
            return
        if actor.since != self._work:
            actor.since, actor.turns = self._work, 0
        actor.turns += 1
        if actor.turns > 1 and self.clock.now - self._worked > IDLE:
            self._interrupt_idle()
        actor.expired = True
        self._resume(actor)

    def _switch(self, me: Actor) -> None:
        """Let somebody run, perhaps the caller; returns when it is his turn."""
        ready, clock, last = self.ready, self.clock, self._last
        while not ready:
            if not clock.step(last):
                self._hub.switch()
                break
        else:
            number = len(ready)
            other = ready[self._choose(ready) if number > 1 else 0]
            if other is not me:
                me.current = False
                self.current, other.current = other, True
                other.greenlet.switch()
        if me.gone or self.over:
            self._refuse(me)
        if me.pending is not None:
            pending, me.pending = me.pending, None
            raise pending

    def _refuse(self, me: Actor) -> None:
        """Its process has ended: unwind it. Who will not be unwound is left where it is."""
        me.refused += 1
        if me.refused < _REFUSALS:
            raise Gone
        self._leave_there(me)

    def _leave_there(self, me: Actor) -> None:
        """Let an actor never run again. His own stack holds him: nothing will unwind it either."""
        me.refused = _REFUSALS
        while True:
            self._hub.switch()

    def run(self) -> None:
        """Run until nobody can go on."""
        self._hub = getcurrent()
        try:
            while not self.over and (self.ready or self.clock.step(self._last) or self._nobody()):
                if self.ready:
                    self._go()
        except Gone:  # stopped from outside
            self.current = None
        self.over = True
        for process in self.processes:
            process.out.end()
            process.err.end()
        self._unwind()

    def _go(self) -> None:
        ready = self.ready
        actor = ready[self._choose(ready) if len(ready) > 1 else 0]
        self.current, actor.current = actor, True
        actor.greenlet.switch()
        self.current = None

    def leave(self, actor: Actor) -> None:
        """An actor has ended."""
        actor.gone = True
        if actor in self.ready:
            self.ready.remove(actor)
        if actor in actor.process.actors:
            actor.process.actors.remove(actor)
        for deed in actor.ended:
            deed()

    def _unwind(self) -> None:
        """End the threads that are left, so that nothing of them runs later."""
        for process in self.processes:
            for actor in process.everybody:
                self.current = actor
                actor.gone = True
                while actor.greenlet and actor.refused < _REFUSALS:  # one that runs is true
                    actor.refused += 1
                    actor.greenlet.throw(Gone)
        self.current = None

    # How a run ends

    def found(self, kind: str, place: Site | None, text: str) -> None:
        """Something is wrong with a program."""
        finding = Finding(kind, place, text)
        if not self.over and finding not in self.findings:
            self.findings.append(finding)

    def _stop(self, what: str) -> None:
        self.halt("limit", site(), f"stopped after {what}: it may never end")

    def halt(self, kind: str, place: Site | None, text: str) -> None:
        """End the run here, and say why. Who goes on nevertheless is left where he is."""
        if not self.over:
            self.found(kind, place, text)
            self.stop()
        elif self.current is not None and getcurrent() is not self._hub:
            self._leave_there(self.current)

    def stop(self) -> None:
        """End the run here."""
        self.over = True
        for process in self.processes:
            for actor in process.actors:
                if actor.waits:
                    self.journal.blocked(actor)
        if self.current is not None:
            raise Gone

    def _nobody(self) -> bool:
        """Nothing can happen any more. Whether somebody was told to stop, and something can."""
        if self.clock.now >= self._last or self.clock.next() is not None:
            time = f"{self._limits.time / 1e9:g} simulated seconds"
            self.halt("limit", None, f"stopped after {time}: it may never end")
            return False
        living = [process for process in self.processes if process.actors]
        ended = len(living) < len(self.processes)
        serving = [process for process in living if ended and process.serving]
        if serving:
            return sum(process.interrupt() for process in serving) > 0
        from sockfsm.sim.programs.deadlock import deadlocks

        self.findings += deadlocks(self, living)
        self.stop()
        return False

    def _interrupt_idle(self) -> None:
        """Stop servers that look for work that cannot come, as who has started them would."""
        living = [process for process in self.processes if process.actors]
        if len(living) == len(self.processes):
            return
        for process in living:
            for actor in process.actors:
                regular = actor.since == self._work and actor.turns > 1
                if not regular and (actor.deadline is not None or not actor.waits):
                    return
        for process in living:
            process.interrupt()

    # Calls

    def call(self, sock: VirtualSocket, request: Request, timeout: float | None) -> Answer:
        """A call of a program, from its beginning to its end."""
        me = self.point(sock, request.word)
        clock = self.clock
        begin = clock.now
        sock.timeout = timeout
        answer = self.kernel.attempt(sock, request)
        if answer is not None:
            self.journal.call(me, sock, request, answer, begin, self.taken(COST), False)
        else:
            answer = self._waited(me, sock, request, timeout)
            self.journal.call(me, sock, request, answer, begin, self.taken(RETURN), True)
        if answer.outcome not in ("timeout", "EAGAIN"):
            self.worked()
        return answer

    def call_closed(self, sock: VirtualSocket, request: Request) -> Answer:
        """A call by a descriptor that the program has closed."""
        me = self.point(sock, request.word)
        begin = self.clock.now
        answer = self.kernel.closed(sock, request)
        self.journal.call(me, sock, request, answer, begin, self.taken(QUICK), False)
        return answer

    def _waited(
        self, me: Actor, sock: VirtualSocket, request: Request, timeout: float | None
    ) -> Answer:
        clock = self.clock
        deadline = None if timeout is None else clock.now + round(timeout * 1e9)
        sock.holders += 1  # a call that is under way keeps the socket open
        try:
            while True:
                if not self.park((sock,), deadline):
                    return self.kernel.expired(sock, request)
                sock.timeout = timeout
                answer = self.kernel.attempt(sock, request)
                if answer is not None:
                    return answer
        finally:
            sock.holders -= 1
            if not sock.holders:
                sock.holders = 1
                self.closed(me, sock, "released")

    def closed(self, actor: Actor, sock: VirtualSocket, method: str) -> None:
        """A descriptor is closed outside a call of the program: no point, no time."""
        request = Request("exit" if method == "exit" else "close", method)
        answer = self.kernel.attempt(sock, request)
        assert answer is not None
        now = self.clock.now
        self.journal.call(actor, sock, request, answer, now, now, False)

    def _woken(self, sock: VirtualSocket) -> None:
        for actor in self._waiting.get(sock, ()):
            self._resume(actor)

    def _data_socket(self, listener: VirtualSocket) -> VirtualSocket:
        me = self.current
        assert me is not None
        return me.process.accepted(listener)

    def waits_for(self, thing: object) -> Callable[[], Iterable[Actor]]:
        """Who waits for `thing`, whenever asked."""
        return lambda: tuple(self._waiting.get(thing, ()))
