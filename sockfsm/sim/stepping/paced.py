"""A run that goes on one event at a time, and what each of the events that wait is.

Events that do nothing (the timeout of a call that has returned, the waking of one that must wait
on) are not offered: they pass by themselves when they are due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

from sockfsm import tcp_names
from sockfsm.model.rules import WOULD_BLOCK, Rule
from sockfsm.sim.clock import Event
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.recorder import refusal
from sockfsm.sim.run import Failure, Player, Simulation
from sockfsm.sim.scenario import Scenario
from sockfsm.sim.sockets import Answer, Request, VirtualSocket
from sockfsm.sim.tcp import Tcb
from sockfsm.sim.tcp_keep import Keeping

NEXT, AGAIN, EXPIRE = Simulation._next, Simulation._again, Simulation._expire
LINGERED = Simulation._lingered
DELIVER, UNREACHABLE = Kernel._deliver, Kernel._unreachable
HELD, KEEP = Tcb._held_long, Keeping._due
REPEAT, PROBE, TIME_WAIT, GIVE_UP = Tcb._expired, Tcb._probe, Tcb._expire_wait, Tcb._end
_CALLS = frozenset({AGAIN, EXPIRE, LINGERED})
_LATE = frozenset({NEXT, AGAIN, DELIVER, UNREACHABLE})


class Deed(NamedTuple):
    """An event that may happen. about: a Player, a Segment or a Tcb. turn: of a waiting player."""

    due: int
    number: int
    method: Callable[..., Any]
    about: Any
    turn: int

    @property
    def timer(self) -> bool:
        """Whether it comes exactly when it is due."""
        return self.method not in _LATE


@dataclass
class Answered:
    """A call that has ended, or (answer is None) has begun to wait. rule: why."""

    sock: VirtualSocket | None
    request: Request
    rule: Rule | None
    answer: Answer | None = None

    @property
    def refused(self) -> bool:
        """Whether the kernel refused it."""
        entry, answer = self.rule, self.answer
        return answer is not None and answer.outcome != "timeout" and bool(entry and entry.refused)

    @property
    def illegal(self) -> bool:
        """Whether it is refused in this state whatever else is true."""
        if self.sock is None or self.answer is None or not self.refused:
            return False
        request, before = self.request, self.answer.before
        errno = refusal(self.sock.kind, before, request.method, request.word)
        return errno == self.answer.outcome


@dataclass
class Before:
    """What the last event found.

    place: its actor's step, None where it is none's. states: of sockets; visited: how many states of
    connections; packets, failures: how many. number: of the event that was made last.
    """

    place: int | None = None
    states: dict[VirtualSocket, str] = field(default_factory=dict)
    visited: dict[Tcb, int] = field(default_factory=dict)
    packets: int = 0
    failures: int = 0
    number: int = 0


class Paced(Simulation):
    """One run. last: the event that happened last, and whether it was a packet that was lost.

    owners: whose each connection was before it.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(scenario, seed)
        self.last: tuple[Deed, bool] | None = None
        self.before = Before()
        self.owners: dict[Tcb, VirtualSocket] = {}
        self.answered: Answered | None = None
        self.over = False
        self._deeds: list[Deed] = []
        for player in self.players:
            self._later(player, 0)
        self._settle()

    @property
    def marks(self) -> set[str]:
        """The marks that were set."""
        return self._marks

    def first(self) -> int:
        """The number of the event that is due first."""
        return self._deeds[0].number

    def deeds(self) -> list[Deed]:
        """What may happen next, in the order in which it is due."""
        timer = min((deed.due for deed in self._deeds if deed.timer), default=None)
        found: list[Deed] = []
        seen: set[object] = set()
        for deed in self._deeds:
            if timer is not None and deed.due > timer:
                break
            one: object = deed.number
            if deed.method is DELIVER:
                one = (deed.about.source, deed.about.target)
            elif deed.method is AGAIN:
                one = deed.about
            if one not in seen:
                seen.add(one)
                found.append(deed)
        return found

    def flying(self) -> list[Deed]:
        """The packets that are on their way."""
        return [deed for deed in self._deeds if deed.method is DELIVER]

    def possible(self, number: int, lose: bool) -> bool:
        """Whether the event can be taken."""
        found = [deed for deed in self.deeds() if deed.number == number]
        return bool(found) and (not lose or found[0].method is DELIVER)

    def take(self, number: int, lose: bool) -> None:
        """Let an event happen, or a packet be lost."""
        deed = next(deed for deed in self._deeds if deed.number == number)
        self.last = (deed, lose)
        self.answered = None
        self._remember(deed)
        if lose:
            self.clock.cancel(number)
        else:
            self.clock.hasten(number)
        if deed.method is NEXT and deed.about.on is not None:
            player = deed.about
            entry = self.kernel._asked(player.on, player.request)
            rule = entry if entry.outcome == WOULD_BLOCK else None
            if player.answer is not None:
                rule = player.answer.rule
            self.answered = Answered(player.on, player.request, rule)
        self._settle()

    def interrupted(self) -> None:
        """Write down who still waits where a run is left before its end."""
        for player in self.players:
            if player.on is not None:
                self.recorder.blocked(player, player.on)

    def new_failures(self) -> list[Failure]:
        """What the last event showed to be wrong."""
        return self.failures[self.before.failures :]

    def connections(self) -> list[Tcb]:
        """All connections that are known, those of closed sockets and of none included."""
        found = dict.fromkeys(self.owners)
        found.update(dict.fromkeys(s.tcb for s in self.kernel.everybody if s.tcb is not None))
        found.update(dict.fromkeys(self.kernel.names.connections.values()))
        return list(found)

    def _remember(self, deed: Deed) -> None:
        about = deed.about
        for sock in self.kernel.everybody:
            if sock.tcb is not None:
                self.owners[sock.tcb] = sock
        self.before = Before(
            about.place if isinstance(about, Player) else None,
            {sock: sock.state for sock in self.kernel.everybody},
            {tcb: len(tcb.visited) for tcb in self.connections()},
            len(self.kernel.network.packets),
            len(self.failures),
            self.clock._number,
        )

    def _settle(self) -> None:
        """Let pass what does nothing, and see what may happen next."""
        clock = self.clock
        while not self.over:
            waiting = clock.pending()
            if not waiting or waiting[0][0] > self._until or self.spent:
                self._deeds = []
            elif self._idle(self._read(waiting[0])):
                clock.step(self._until)
                continue
            else:
                deeds = map(self._read, waiting)
                self._deeds = [deed for deed in deeds if not self._idle(deed)]
                return
            self.over = True
            self._conclude()

    def _read(self, entry: tuple[int, int, Event]) -> Deed:
        due, number, event = entry
        deed: Any = event.deed
        arguments: tuple[Any, ...] = ()
        if isinstance(deed, partial):
            arguments, deed = deed.args, deed.func
        assert isinstance(deed, MethodType)
        method = deed.__func__
        of = deed.__self__
        if isinstance(of, Keeping):
            of = getattr(of._ask, "__self__", None)
        about = of if isinstance(of, Tcb) else arguments[0]
        turn = arguments[1] if method in _CALLS else 0
        return Deed(due, number, method, about, turn)

    def _idle(self, deed: Deed) -> bool:
        """Whether nothing comes of it."""
        if deed.method in _CALLS:
            player = deed.about
            if player.on is None or player.turn != deed.turn or player.request is None:
                return True
            if player.answer is not None:
                return deed.method is AGAIN and self.kernel.lingers(player.on)
            return deed.method is AGAIN and self.kernel.waits(player.on, player.request)
        if deed.method is HELD and not deed.about._acks.owed:
            return True
        return deed.method in (GIVE_UP, HELD) and deed.about.state == tcp_names.CLOSED

    def _finish(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer
    ) -> None:
        self.answered = Answered(sock, request, answer.rule, answer)
        super()._finish(player, sock, request, answer)
