"""Random sequences of calls, among live peers that do random things between the calls.

Nothing is predicted here. The machine gets the outcomes, as in the tracer. It must explain each one.
The kernel must not have taken a call that the machine would have refused. And one of the states that
the machine considers possible must be what the kernel shows. A sequence is drawn before it is run, so
that it can be run again and be made shorter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sockfsm.conform.expect import firm
from sockfsm.conform.scenes import SCENES, Action, Scene
from sockfsm.conform.traced import Tracer
from sockfsm.conform.watch import Watch
from sockfsm.model.kinds import KINDS, flat_of

SHORTEST, LONGEST = 10, 25


@dataclass(frozen=True)
class Fault:
    """A sequence at whose end the machine and the kernel differ.

    number: of the sequence, for this seed. what: how they differ.
    """

    kind: str
    seed: int
    number: int
    steps: tuple[Action, ...]
    what: str

    def __str__(self) -> str:
        calls = "; ".join(map(str, self.steps))
        return f"{self.kind}, seed {self.seed}, sequence {self.number}: {self.what}\n  {calls}"


def drawn(kind: str, seed: int, number: int) -> tuple[Action, ...]:
    """Draw the sequence with this number."""
    luck = random.Random(f"{kind} {seed} {number}")
    steps: list[Action] = []
    length = luck.randint(SHORTEST, LONGEST)
    while sum(step.counts for step in steps) < length:
        steps.append(SCENES[kind].draw(luck))
    return tuple(steps)


def ramble(
    kind: str,
    seed: int,
    numbers: range,
    lane: int,
    tracer: Tracer | None = None,
) -> Iterator[Fault]:
    """Run the sequences with these numbers. Yield each fault as the shortest sequence that shows it."""
    scene = SCENES[kind](lane)
    with scene:
        for number in numbers:
            steps = drawn(kind, seed, number)
            found = run(scene, steps, tracer)
            if found:
                fault = Fault(kind, seed, number, steps[: found[0]], found[1])
                yield shrunk(fault, lambda steps: run(scene, steps, tracer))


def run(
    scene: Scene, steps: tuple[Action, ...], tracer: Tracer | None = None
) -> tuple[int, str] | None:
    """Returns (how many steps were made, what is wrong after them); None if nothing is."""
    flat = flat_of(scene.kind)
    watch = Watch(scene.kind)
    scene.begin()
    try:
        for made, step in enumerate(steps, 1):
            heard = scene.act(step)
            if heard is None:
                continue
            found = tracer.wrong() if tracer is not None else ""
            for call, outcome, variant in heard:
                if tracer is not None:
                    variant = tracer.asked(variant)
                if call == "accepted":
                    watch = Watch(scene.kind, call)
                else:
                    found = found or watch.step(call, outcome, variant)
            if not found and tracer is not None:
                found = tracer.differs(scene.sock, watch.state)
            if found:
                return made, found
        seen = scene.seen(scene.sock)
        fits = (firm(flat.table, flat.states[state]) for state in watch.states)
        if not any(
            all(seen.get(fact) in values for fact, values in facts.items()) for facts in fits
        ):
            return len(steps), f"{watch.state} fits none of {seen}"
        return None
    finally:
        scene.end()


def shrunk(fault: Fault, again: Callable[[tuple[Action, ...]], tuple[int, str] | None]) -> Fault:
    """The fault without the steps that it does not need."""
    index = 0
    while index < len(fault.steps):
        steps = fault.steps[:index] + fault.steps[index + 1 :]
        found = again(steps)
        if found and found[1] == fault.what:
            fault = replace(fault, steps=steps[: found[0]])
        else:
            index += 1
    return fault


def kinds(kind: str = "") -> tuple[str, ...]:
    """The kinds to run: `kind`, or all of them for ''."""
    return tuple(k for k in KINDS if kind in ("", k))
