"""Follows a socket by the machine, as the tracer does: it gets only outcomes, and must explain each."""

from __future__ import annotations

from functools import cache

from sockfsm.model.compiled import Compiled
from sockfsm.model.kinds import flat_of, machine_of
from sockfsm.model.rules import ACCEPTED, OK
from sockfsm.model.variants import understood


@cache
def watching(kind: str) -> Compiled:
    """The compiled machine of a kind."""
    return Compiled.of(machine_of(kind))


class Watch:
    """One socket, and the states that it may be in."""

    def __init__(self, kind: str, birth: str = "create") -> None:
        self._kind = kind
        self.state = watching(kind).initial
        if birth:
            self.step(birth, OK, "")

    @property
    def states(self) -> tuple[str, ...]:
        """The states that it may be in, the likeliest first."""
        return tuple(self.state.split("|"))

    def step(self, call: str, outcome: str, variant: str) -> str:
        """Take in a call. Returns what is wrong with it, or ''. variant: what is known of the call."""
        if call == "connect" and "fastopen" in variant.split():
            call = "send"  # the tracer sees a sendto(), and takes it as a send
        self.state, fault = _step(self._kind, self.state, call, outcome, variant)
        return fault


@cache
def _step(kind: str, before: str, call: str, outcome: str, variant: str) -> tuple[str, str]:
    """(the states after the call, what is wrong with it)."""
    machine, (word, variant) = watching(kind), understood(kind, call, variant)
    addressed = word == "send" and "address" in variant.split()
    refusal = machine.refusal(before, "sendto" if addressed else word, variant)
    after = machine.step(before, word, outcome, variant)
    if after is None:
        return before, f"{outcome} in {before} is unexplained"
    if refusal and outcome in ACCEPTED and not _uncounted(kind, before, word, outcome, variant):
        return after, f"{outcome} in {before} would be refused with {refusal}"
    return after, ""


def _uncounted(kind: str, states: str, call: str, outcome: str, variant: str) -> bool:
    """Whether the outcome has only an explanation that must not be relied on.

    Enforce asks the kernel before it stops such a call: Python's own wait may come before a refusal, a
    flag may make the kernel look elsewhere, and what seemed to have ended may still be there.
    """
    ways = (flat_of(kind).possible(state, call, outcome, variant) for state in states.split("|"))
    return all(way.rule.aside for cells in ways for way in cells)
