"""What the worlds of a search are made of: time that moves when it is told to, packets that are lost
when it is said, nothing that chance decides or that tells who came first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from sockfsm.events import Process, Socket
from sockfsm.sim.clock import Clock, Event
from sockfsm.sim.network import LOOPBACK, Network, Rules, Segment
from sockfsm.sim.recorder import Recorder
from sockfsm.sim.run import Player
from sockfsm.sim.scenario import Actor, Scenario
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

_GRACE = 200_000_000_000
"""ns of background timers alone after which nothing can come any more, as in `clock`."""
_PORTS = 500
"""Ports that each actor has to itself: so a port does not tell who was first."""


class Source(Random):
    """Where a run would ask for a random number: the same for a turn, whatever came before it."""

    who = 0

    def getrandbits(self, k: int) -> int:
        """An initial sequence number."""
        return 1000 % (1 << k)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """Where to look for a free port."""
        return self.who * _PORTS % (start if stop is None else stop - start)

    def random(self) -> float:
        """What chance decides is the schedule's to choose."""
        return 1.0


class Everybody:
    """Stands where a kernel lists all sockets: nobody is in it.

    A kernel goes through them to wake whoever may have waited, and who that is a schedule asks by
    itself. To look at everybody would make each turn depend on all sockets that there are.
    """

    def __init__(self, added: Callable[[VirtualSocket], None]) -> None:
        self._added = added

    def append(self, sock: VirtualSocket) -> None:
        """A new socket."""
        self._added(sock)

    def __iter__(self) -> Iterator[VirtualSocket]:
        return iter(())


class Marks:
    """The marks that were set."""

    def __init__(self) -> None:
        self.set: dict[str, bool] = {}


class Timers:
    """What is due later: (when, whose turn set it up, a number) -> event."""

    def __init__(self) -> None:
        self.due: dict[tuple[int, int, int], Event] = {}

    def next(self) -> tuple[bool, list[tuple[int, int, int]]]:
        """Whether any call may wait for them, and those that may happen next."""
        live = sorted(key for key, event in self.due.items() if not event.cancelled)
        lively = [key for key in live if not self.due[key].background]
        first = [key for key in lively or live if key[0] == (lively or live)[0][0]]
        # What one turn has set up comes in its order: packets do not overtake each other.
        heads = {key[1]: key for key in reversed(first)}
        return bool(lively), sorted(heads.values())


class Timeline(Clock):
    """A clock that stands still but for the turns of time.

    who: whose turn it is. latest: the event that was set up last. shift: ns by which a recorded run
    is later than the clock says: there a call takes some time, so that a timeline can show it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.who = 0
        self.shift = 0
        self.latest: Event | None = None

    def at(self, time: int, deed: Callable[[], None], *, background: bool | None = None) -> Event:
        """Have `deed` happen: within this turn where it is due at once."""
        if time <= self.now + LOOPBACK:
            return super().at(time, deed, background=background)
        event = Event(deed, self._background if background is None else background)
        self.latest = event
        number = 0
        while (time, self.who, number) in self.timers.due:
            number += 1
        self.timers.due[time, self.who, number] = event
        return event

    def settle(self) -> None:
        """Let happen what is due at once."""
        now = self.now
        while self._heap:
            time, _, event = heapq.heappop(self._heap)
            if not event.cancelled:
                self.now = max(self.now, time)
                self._background = event.background
                event.deed()
        self._background = False
        self._number = 0
        self.now = now

    def fire(self, chosen: int) -> None:
        """Let time move to what is due next."""
        key = self.timers.next()[1][chosen]
        event = self.timers.due.pop(key)
        self.now = max(self.now, key[0])
        self.who = key[1]
        if not event.background:
            self._lively = self.now
        self._background = event.background
        event.deed()
        self._background = False

    def over(self) -> bool:
        """Whether background timers have been alone for too long."""
        keys = self.timers.next()[1]
        return bool(keys) and keys[0][0] > self._lively + _GRACE


class Wire(Network):
    """Loses what the schedule says. left: how many more packets it may lose."""

    def __init__(
        self, clock: Timeline, rules: Rules, deliver: Callable[[Segment], None], losses: int,
        captured: bool,
    ) -> None:  # fmt: skip
        kept = replace(rules, loss=0.0, duplication=0.0, jitter=0)
        super().__init__(clock, Source(), kept, deliver)
        self.left = losses
        self.doomed: tuple[int, ...] = ()
        self.sent = 0
        self._captured = captured
        self._timeline = clock

    def send(self, segment: Segment) -> None:
        """Deliver a segment, or lose it."""
        self.sent += 1
        if self.sent - 1 in self.doomed:
            self.left -= 1
            self._capture(segment)
        else:
            super().send(segment)

    def _capture(self, segment: Segment) -> None:
        if self._captured:
            super()._capture(segment)
            last, shift = self.packets[-1], self._timeline.shift
            self.packets[-1] = last._replace(time=last.time + shift, wall=last.wall + shift)


class Births(Recorder):
    """Makes sockets and remembers nothing: what a search needs of a recorder."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._born: dict[Process, int] = {}
        self._known = Archive()

    def _new(self, process: Process, kind: str, born: str, parent: str | None) -> VirtualSocket:
        number = self._born[process] = self._born.get(process, 0) + 1
        event = self._known.socket(process, kind, born, parent, number)
        return VirtualSocket(kind, event, self._hosts[process], born)

    def call(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer,
        end: int, waited: bool,
    ) -> None:  # fmt: skip
        """Nothing is written down."""

    def blocked(self, player: Player, sock: VirtualSocket) -> None:
        """Nothing is written down."""


class Archive:
    """The identities of sockets, the same in all schedules."""

    def __init__(self) -> None:
        self._events: dict[tuple[object, ...], Socket] = {}

    def socket(
        self, process: Process, kind: str, born: str, parent: str | None, number: int
    ) -> Socket:
        key = process.pid, kind, born, parent, number
        if key not in self._events:
            name = f"{process.name}.{number}"
            self._events[key] = Socket(name, number, process, kind, 0, 0, 0, number, born, parent)
        return self._events[key]


class Walker(Player):
    """An actor.

    asleep: in a `wait`. left: its program has ended. alarm: ends the call that it waits in. made: its
    sockets, those of accept() too. shift: the timeline's when its call began.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self.made: list[VirtualSocket] = []
        self.asleep = self.left = False
        self.alarm: Event | None = None
        self.shift = 0


class Shown(Recorder):
    """Writes calls down, as much later as the timeline says."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        super().__init__(scenario)
        self._timeline = timeline

    def call(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer,
        end: int, waited: bool,
    ) -> None:  # fmt: skip
        """Write a finished call down. It has waited, too, where others took turns meanwhile."""
        assert isinstance(player, Walker)
        shift = self._timeline.shift
        player.begun += player.shift
        super().call(player, sock, request, answer, end + shift, waited or shift > player.shift)

    def blocked(self, player: Player, sock: VirtualSocket) -> None:
        """Write down a call that does not return."""
        assert isinstance(player, Walker)
        player.begun += player.shift
        super().blocked(player, sock)
