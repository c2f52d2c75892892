"""A scenario that goes on turn by turn, as a schedule says.

A turn takes no time: one actor makes one call, and what that sets going within a host is over before
the next turn. Time moves in turns of its own, to the next timer or packet, whether or not an actor
could still run: so an actor may be as late as it likes. What is due at the same instant happens in
any order. Timers that no call waits for (TIME_WAIT, probes) fire only where nobody can run.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

from sockfsm.events import Site
from sockfsm.sim.explore.stage import (
    Births,
    Everybody,
    Marks,
    Shown,
    Source,
    Timeline,
    Walker,
    Wire,
)
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.recorder import refusal
from sockfsm.sim.run import COST, Failure, Player, Simulation
from sockfsm.sim.scenario import Scenario
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

TIME = -1
"""Who takes the turn when time moves."""
_GAP = 1_000
"""ns between two turns of a recorded run."""


class Turn(NamedTuple):
    """One entry of a schedule.

    who: an actor's place, or TIME. chosen: of an actor, which of the packets that are sent in its turn
    are lost, from 0; of time, which of what is due at the same instant happens.
    """

    who: int
    chosen: tuple[int, ...] = ()


class World(Simulation):
    """A run that a schedule drives. losses: how many packets may be lost.

    recorded: whether a trace is kept; then a turn takes the time that a call takes, so that a
    timeline can show it.
    """

    def __init__(self, scenario: Scenario, losses: int = 0, *, recorded: bool = False) -> None:
        super().__init__(untimed(scenario))
        scenario = self.scenario
        self.recorded = recorded
        self.random = Source()
        self.timeline = self.clock = Timeline()
        self.recorder = Shown(scenario, self.timeline) if recorded else Births(scenario)
        self.kernel = Kernel(
            self.clock, self.random, scenario.network, self._woken, self.recorder.data_socket
        )
        deliver = self.kernel.network._deliver
        self.wire = Wire(self.timeline, scenario.network, deliver, losses, recorded)
        self.kernel.network = self.wire
        self.kernel.stack.send = self.wire.send
        self._everybody = Everybody(self._made)
        self.kernel.everybody = self._everybody  # type: ignore[assignment]
        self.walkers = [Walker(actor) for actor in scenario.actors]
        self.players = list(self.walkers)
        self._of = {self.recorder.process(walker): walker for walker in self.walkers}
        self.marks = Marks()
        for walker in self.walkers:
            self._quietly(walker)

    # What may happen next

    def ready(self, who: int) -> bool:
        """Whether an actor can take a turn."""
        walker = self.walkers[who]
        if walker.left or walker.asleep:
            return False
        if walker.on is not None:
            assert walker.request is not None
            return not self.kernel.waits(walker.on, walker.request)
        for step in walker.actor.steps[walker.place :]:
            if step.verb == "after" and step.name not in self.marks.set:
                return False
            if step.verb not in ("after", "timeout"):
                break
        return True

    def due(self) -> tuple[bool, int]:
        """Whether calls wait for what is due next, and how much is due at that instant."""
        lively, keys = self.timeline.timers.next()
        if not lively and self.timeline.over():
            return False, 0
        return lively, len(keys)

    def options(self) -> list[Turn]:
        """The turns that can be taken now; of an actor only the one in which no packet is lost."""
        found = [Turn(who) for who in range(len(self.walkers)) if self.ready(who)]
        lively, count = self.due()
        if lively or (not found and not self.done()):
            found += [Turn(TIME, (which,)) for which in range(count)]
        return found

    def done(self) -> bool:
        """Whether all programs have ended."""
        return all(walker.left for walker in self.walkers)

    # Turns

    def take(self, turn: Turn) -> None:
        """Take a turn; `failures` and `results` grow by what it showed."""
        if turn.who == TIME:
            self.wire.doomed, self.wire.sent = turn.chosen[1:], 0
            self.timeline.fire(turn.chosen[0])
            self.random.who = self.timeline.who
            self.timeline.settle()
        else:
            self.timeline.who = self.random.who = turn.who
            self.wire.doomed, self.wire.sent = turn.chosen, 0
            self._move(self.walkers[turn.who])
        if self.recorded:
            self.timeline.shift += COST + _GAP

    def _move(self, walker: Walker) -> None:
        self._quietly(walker)
        if walker.on is None:
            walker.shift = self.timeline.shift
        if walker.on is not None:
            self._again(walker, walker.turn)
        elif walker.place == len(walker.actor.steps):
            self._leave(walker)
        elif walker.step.verb == "wait":
            assert walker.step.span is not None
            self.clock.after(walker.step.span, partial(self._wake, walker), background=False)
            walker.place += 1
            walker.asleep = True
        elif walker.step.verb != "after":
            self._next(walker)
            if walker.on is not None:
                walker.alarm = self.timeline.latest if walker.on.timeout is not None else None
        self.timeline.settle()
        if walker.on is not None and self.ready(self.walkers.index(walker)):
            # Answered before the call could sleep, as on Linux over the loopback device.
            self._again(walker, walker.turn)
            self.timeline.settle()
        self._quietly(walker)

    def _quietly(self, walker: Walker) -> None:
        """Take the steps that nobody else can see, or that only let others go on."""
        while walker.on is None and not walker.asleep and walker.place < len(walker.actor.steps):
            step = walker.step
            if step.verb == "mark":
                self.marks.set[step.name] = True
            elif step.verb == "timeout":
                self._next(walker)
                continue
            elif step.verb != "after" or step.name not in self.marks.set:
                return
            walker.place += 1
        if walker.place == len(walker.actor.steps) and walker.on is None and not walker.asleep:
            walker.left = not any(sock.open for sock in walker.made)

    def _wake(self, walker: Walker) -> None:
        walker.asleep = False
        self._quietly(walker)

    def _made(self, sock: VirtualSocket) -> None:
        self._of[sock.event.process].made.append(sock)

    def _leave(self, walker: Player) -> None:
        assert isinstance(walker, Walker)
        names = {sock: name for name, sock in walker.sockets.items()}
        for sock in walker.made:
            if sock.open:
                name = names.get(sock, "a socket of accept()")
                text = f"{name} is still open ({sock.state}) when {walker.actor.name} ends"
                self.failures.append(Failure("open", self._site(walker), text))
        self.kernel.everybody = walker.made
        super()._leave(walker)
        self.kernel.everybody = self._everybody  # type: ignore[assignment]
        ended = self.recorder.process(walker)
        ended.ended = self.clock.now + self.timeline.shift
        walker.left = True

    def _finish(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer
    ) -> None:
        assert isinstance(player, Walker)
        if player.alarm is not None:
            player.alarm.cancelled = True
            player.alarm = None
        before = len(self.failures)
        super()._finish(player, sock, request, answer)
        player.turn = 0  # no event is left that an earlier turn has set up
        self._quietly(player)
        if sock is None:
            return
        if refusal(sock.kind, answer.before, request.method, request.word) == answer.outcome:
            for failure in self.failures[before:]:
                failure.kind = "illegal"
                failure.text += f", illegal in {answer.before}"

    def _later(self, player: Player, delay: int) -> None:
        """The schedule decides when the actor goes on."""

    def _woken(self, sock: VirtualSocket) -> None:
        """Who can go on is asked, not told."""

    def _site(self, player: Player) -> Site:
        steps = player.actor.steps
        line = steps[min(player.place, len(steps) - 1)].line if steps else player.actor.line
        return Site(self.scenario.file, line, player.actor.name)

    # The end

    def verdict(self) -> list[Failure]:
        """What is wrong at the end, where no turn is left."""
        if self.done():
            if self.scenario.deadlock:
                return [Failure("expected", None, "a deadlock was to come, and did not")]
            return []
        before = len(self.failures)
        self._stuck()
        found = self.failures[before:]
        del self.failures[before:]
        if self.scenario.deadlock:
            return []
        return [Failure("deadlock", found[0].site, "; ".join(one.text for one in found))]

    def interrupted(self) -> None:
        """Write down who still waits where a schedule ends before the programs do."""
        for walker in self.walkers:
            if walker.on is not None:
                self.recorder.blocked(walker, walker.on)


def untimed(scenario: Scenario) -> Scenario:
    """The scenario without `blocks`: whether and how long a call waits is the schedule's."""
    actors = [
        replace(actor, steps=[replace(step, blocks=None) for step in actor.steps])
        for actor in scenario.actors
    ]
    return replace(scenario, actors=actors)
