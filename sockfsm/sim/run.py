"""Runs a scenario on the virtual kernel, in virtual time, and records it as a trace.

Deterministic: the seed decides sequence numbers, ports and what the network does; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

from sockfsm.events import Site
from sockfsm.model.rules import ACCEPTED
from sockfsm.sim.clock import Clock
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.recorder import Recorder
from sockfsm.sim.scenario import ANY, OPTIONS, Actor, Scenario, Step
from sockfsm.sim.sockets import Answer, Request, VirtualSocket
from sockfsm.trace.source import MemoryTrace

COST = 10_000
"""ns that a call takes which does not wait."""
_RETURN = 2_000
"""ns from what ends a wait to the call's return."""
_GAP = 1_000
"""ns between a call's return and the next call."""
MS = 1_000_000
MOST_EVENTS = 1_000_000
MOST_TIME = 3_600_000_000_000
MOST_BYTES = 1 << 29


@dataclass
class Failure:
    """An expectation that was not met. kind: `expected` or `deadlock` or `limit`."""

    kind: str
    site: Site | None
    text: str

    def __str__(self) -> str:
        return f"{self.site}: {self.text}" if self.site else self.text


class Result(NamedTuple):
    """How a call ended. value: what recv() gave. lasted: ns that it waited, None if it did not.

    look: what could be seen of the socket when it had returned, as `play.look` sees a real one.
    """

    actor: str
    line: int
    outcome: str
    value: bytes | None
    lasted: int | None
    look: dict[str, object]


def judge(step: Step, outcome: str, value: object, lasted: int | None, slack: int) -> list[str]:
    """Where a call did not end as the scenario expects.

    lasted: ns for which it blocked, None if it did not. slack: ns by which that may be longer.
    """
    what = f"{step.name}.{step.verb}" if step.name else step.verb
    wrong = []
    if step.outcome == ANY:
        pass
    elif step.outcome and outcome != step.outcome:
        wrong.append(f"{what} was to give {step.outcome}, and gave {outcome}")
    elif not step.outcome and outcome not in (*ACCEPTED, "deferred"):
        wrong.append(f"{what} gave {outcome}")
    if step.gives is not None and value != step.gives:
        given = "nothing" if value is None else repr(value)
        wrong.append(f"{what} was to give {step.gives!r}, and gave {given[:60]}")
    if step.blocks is not None:
        if lasted is None:
            wrong.append(f"{what} was to block, and did not")
        elif step.blocks:
            least = step.blocks - max(step.blocks // 10, MS)
            if not least <= lasted <= step.blocks + max(step.blocks // 10, slack):
                wrong.append(
                    f"{what} was to block {step.blocks / MS:g}ms, and did {lasted / MS:g}ms"
                )
    return wrong


class Player:
    """An actor at work: which step is next, and the call that it waits in."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.place = 0
        self.sockets: dict[str, VirtualSocket] = {}
        self.closed: set[str] = set()
        self.timeouts: dict[str, float | None] = {}
        self.begun = 0
        self.request: Request | None = None
        self.on: VirtualSocket | None = None
        self.turn = 0
        self.waited = False
        self.answer: Answer | None = None
        self.look: dict[str, object] = {}
        self.seen: VirtualSocket | None = None

    @property
    def step(self) -> Step:
        return self.actor.steps[self.place]


class Simulation:
    """One run.

    failures: what was not as expected. results: of each call. stuck: actor -> the line in which it is
    blocked for ever.
    """

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.scenario = scenario
        self.failures: list[Failure] = []
        self.results: list[Result] = []
        self.stuck: dict[str, int] = {}
        random = Random(seed)
        self.clock = Clock()
        self.recorder = Recorder(scenario)
        self.kernel = Kernel(
            self.clock, random, scenario.network, self._woken, self.recorder.data_socket
        )
        self.players = [Player(actor) for actor in scenario.actors]
        self._until = self.clock.now + MOST_TIME
        self._marks: set[str] = set()
        self._expecting: dict[str, list[Player]] = {}

    def run(self) -> MemoryTrace:
        """Run to the end, to a deadlock or to a limit."""
        for player in self.players:
            self._later(player, 0)
        while self.clock.step(self._until) and not self.spent:
            pass
        self._conclude()
        return self.recorder.trace(self.kernel.network.packets)

    @property
    def spent(self) -> bool:
        """Whether a limit is reached."""
        return self.clock.events >= MOST_EVENTS or self.kernel.network.bytes >= MOST_BYTES

    def _conclude(self) -> None:
        clock, network = self.clock, self.kernel.network
        if clock.events >= MOST_EVENTS:
            self._limit(f"{MOST_EVENTS:,} events")
        elif network.bytes >= MOST_BYTES:
            self._limit(f"{MOST_BYTES:,} bytes of packets")
        elif (clock.next() or 0) > self._until:
            self._limit(f"{MOST_TIME // 10**9:,} simulated seconds")
        else:
            self._stuck()

    @property
    def unmet(self) -> list[Failure]:
        """The failures that the scenario does not expect itself."""
        wanted = self.scenario.deadlock
        found = [f for f in self.failures if not (wanted and f.kind == "deadlock")]
        if wanted and not any(f.kind == "deadlock" for f in self.failures):
            found.append(Failure("expected", None, "a deadlock was to come, and did not"))
        return found

    def _limit(self, what: str) -> None:
        for player in self.players:
            if player.place < len(player.actor.steps):
                text = f"{player.actor.name} was here when the run was stopped, after {what}"
                self.failures.append(Failure("limit", self._site(player), text))
                if player.on is not None:
                    self.recorder.blocked(player, player.on)

    def _stuck(self) -> None:
        """Name the calls that nothing can end any more."""
        for player in self.players:
            if player.place >= len(player.actor.steps):
                continue
            step, name = player.step, player.actor.name
            if step.verb == "after":
                text = f"{name} waits for ever for the mark {step.name!r}"
            elif player.on is not None:
                state = player.on.state
                text = f"{name} is blocked for ever in {step.name}.{step.verb} ({state})"
                self.recorder.blocked(player, player.on)
            else:
                continue
            self.stuck[name] = step.line
            self.failures.append(Failure("deadlock", self._site(player), text))

    def _later(self, player: Player, delay: int) -> None:
        self.clock.after(delay, partial(self._next, player), background=False)

    def _next(self, player: Player) -> None:
        """Let an actor take its next step."""
        if player.seen is not None:
            player.look.update(player.seen.look())
            player.seen = None
        if player.place >= len(player.actor.steps):
            self._leave(player)
            return
        step = player.step
        if step.verb == "mark":
            self._marks.add(step.name)
            for other in self._expecting.pop(step.name, ()):
                self._later(other, COST)
        elif step.verb == "after":
            if step.name not in self._marks:
                self._expecting.setdefault(step.name, []).append(player)
                return
        elif step.verb == "wait":
            assert step.span is not None
            if not player.waited:
                player.waited = True
                self._later(player, step.span)
                return
            player.waited = False
        else:
            self._act(player, step)
            return
        player.place += 1
        self._later(player, 0)

    def _act(self, player: Player, step: Step) -> None:
        player.begun = self.clock.now
        if step.verb == "socket":
            sock = self.recorder.socket(player, step.kind)
            player.sockets[step.name] = sock
            player.timeouts.pop(step.name, None)
            player.closed.discard(step.name)
            self.kernel.everybody.append(sock)
            answer = Answer("ok", "START", sock.state)
            self._finish(player, sock, Request("create", "socket"), answer)
            return
        if step.verb == "unlink":
            assert isinstance(step.address, str)
            held = self.kernel.owner(step.address)
            mine = self.recorder.is_of(player)
            answer = self.kernel.unlink("unix-stream", step.address, mine)
            owner = held if held is not None and mine(held) else None
            self._finish(player, owner, Request("unlink", "unlink", step.address), answer)
            return
        if step.verb == "dup":
            known = player.sockets.get(step.option)
            if known is not None and known.open and step.option not in player.closed:
                player.sockets[step.name] = known
                known.holders += 1
                player.timeouts[step.name] = player.timeouts.get(step.option)
                player.closed.discard(step.name)
        elif step.name not in player.sockets:
            text = f"{step.name} was never made: its accept() did not succeed"
            self.failures.append(Failure("expected", self._site(player), text))
        elif step.verb == "timeout":
            span = step.span
            player.timeouts[step.name] = None if span is None else span / 1e9
        elif step.verb == "set":
            sock = player.sockets[step.name]
            value = step.size if OPTIONS[step.option] else True
            setattr(sock, step.option, value)
            self.kernel.stack.adjust(sock)
        else:
            self._begin(player, step)
            return
        player.place += 1
        self._later(player, 0)

    def _begin(self, player: Player, step: Step) -> None:
        sock = player.sockets[step.name]
        method = {"shutdown_rd": "shutdown(SHUT_RD)", "shutdown_wr": "shutdown(SHUT_WR)"}
        method |= {"shutdown_rdwr": "shutdown(SHUT_RDWR)", "so_error": "getsockopt(SO_ERROR)"}
        verb = method.get(step.word, step.verb)
        request = Request(step.word, verb, step.address, step.data, step.size)
        if step.name in player.closed:  # a descriptor of several, and the others are open
            self._finish(player, sock, request, self.kernel.closed(sock, request))
            return
        sock.timeout = player.timeouts.get(step.name)
        answer = self.kernel.attempt(sock, request)
        if answer is not None and not (request.word == "close" and self.kernel.lingers(sock)):
            self._finish(player, sock, request, answer)
            return
        player.request, player.on = request, sock
        player.turn += 1
        if answer is not None:
            player.answer = answer
            assert sock.linger is not None
            lingered = partial(self._lingered, player, player.turn)
            self.clock.after(sock.linger * 10**9, lingered, background=False)
        elif sock.timeout is not None:
            expire = partial(self._expire, player, player.turn)
            self.clock.after(round(sock.timeout * 1e9), expire, background=False)

    def _woken(self, sock: VirtualSocket) -> None:
        """Somebody may have an answer now: ask again, a moment later."""
        for player in self.players:
            if player.on is sock:
                again = partial(self._again, player, player.turn)
                self.clock.after(_RETURN, again, background=False)

    def _again(self, player: Player, turn: int) -> None:
        if player.on is None or player.turn != turn or player.request is None:
            return
        if player.answer is not None:
            if not self.kernel.lingers(player.on):
                self._lingered(player, turn)
            return
        answer = self.kernel.attempt(player.on, player.request)
        if answer is not None:
            self._finish(player, player.on, player.request, answer)

    def _lingered(self, player: Player, turn: int) -> None:
        """close() has waited long enough; what it has sent goes on its way."""
        if player.turn == turn and player.answer is not None:
            assert player.request is not None
            self._finish(player, player.on, player.request, player.answer)

    def _expire(self, player: Player, turn: int) -> None:
        if player.on is None or player.turn != turn or player.request is None:
            return
        answer = self.kernel.expired(player.on, player.request)
        self._finish(player, player.on, player.request, answer)

    def _finish(
        self, player: Player, sock: VirtualSocket | None, request: Request, answer: Answer
    ) -> None:
        # On loopback a call itself carries what it sends to the other end, and the answer back.
        waited = player.on is not None and self.clock.now - player.begun >= COST
        player.on = player.request = player.answer = None
        player.turn += 1
        end = self.clock.now + (_RETURN if waited else COST)
        self.recorder.call(player, sock, request, answer, end, waited)
        value = answer.value if isinstance(answer.value, bytes) else None
        lasted = end - player.begun if waited else None
        player.look = {}
        step, outcome = player.step, answer.outcome
        if outcome == "deferred":
            player.closed.add(step.name)
            outcome = "ok"
        if step.name not in player.closed:
            player.seen = player.sockets.get(step.name)
        self.results.append(
            Result(player.actor.name, player.step.line, outcome, value, lasted, player.look)
        )
        for text in judge(player.step, outcome, answer.value, lasted, MS):
            self.failures.append(Failure("expected", self._site(player), text))
        if request.word == "accept" and isinstance(answer.value, VirtualSocket):
            self.kernel.everybody.append(answer.value)
            if player.step.made:
                player.sockets[player.step.made] = answer.value
                player.timeouts.pop(player.step.made, None)
                player.closed.discard(player.step.made)
        player.place += 1
        self._later(player, end - self.clock.now + _GAP)

    def _leave(self, player: Player) -> None:
        """The program ends: the kernel closes what it left open."""
        process = self.recorder.process(player)
        process.ended = self.clock.now
        player.begun = self.clock.now
        for sock in self.kernel.everybody:
            if sock.event.process is process and sock.open:
                sock.holders = 1
                request = Request("exit", "exit")
                answer = self.kernel.attempt(sock, request)
                assert answer is not None
                self.recorder.call(player, sock, request, answer, self.clock.now, False)

    def _site(self, player: Player) -> Site:
        return Site(self.scenario.file, player.step.line, player.actor.name)
