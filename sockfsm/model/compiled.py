"""A flat lookup, compiled from a `transitions` machine: what the runtime uses where 9 us are too much.

The machine is the authority: transitions that somebody removed are not in the lookup, and where a
callback or a condition hangs on a transition the lookup says so, for the caller to run the trigger.
"""

from __future__ import annotations

from collections.abc import Mapping

from sockfsm.model.executed import SocketMachine, observed
from sockfsm.model.rules import ACCEPTED, Rule


class Compiled:
    """(state, call, outcome) -> next state, and which calls are legal, as the machine stands now."""

    def __init__(self, machine: SocketMachine) -> None:
        self.machine = machine
        self.flat = machine.flat
        self.kind = self.flat.kind
        self.states = tuple(machine.states)
        self._facts = self.flat.table.environment
        self._next: dict[tuple[str, str], str] = {}
        self._observed: set[tuple[str, str]] = set()
        for trigger, event in machine.events.items():
            for source, transitions in event.transitions.items():
                for transition in transitions[:1]:
                    self._next[source, trigger] = transition.dest or source
                if len(transitions) > 1 or any(observed(machine, t) for t in transitions):
                    self._observed.add((source, trigger))

    def step(self, state: str, call: str, outcome: str) -> str | None:
        """The state after this outcome of `call`, None when the machine has no such transition."""
        return self._next.get((state, f"{call}_{outcome}"))

    def observed(self, state: str, call: str, outcome: str) -> bool:
        """Whether the transition has to be run by `transitions`, for its callbacks or conditions."""
        return (state, f"{call}_{outcome}") in self._observed

    def trigger(self, model: object, call: str, outcome: str) -> bool:
        """Run the real trigger on `model`; False when no transition was executed."""
        event = self.machine.events.get(f"{call}_{outcome}")
        return event is not None and bool(event.trigger(model))

    def accepts(self, state: str, call: str) -> bool:
        """Whether some outcome of `call` in `state` is not a refusal."""
        return any((state, f"{call}_{outcome}") in self._next for outcome in ACCEPTED)

    def refusal(self, state: str, call: str, facts: Mapping[str, str] | None = None) -> str:
        """The errno's name with which `call` is refused in `state`, '' where it is legal.

        facts: what is known of the environment, see `FlatMachine.refusal`. A call that only a
        stricter machine forbids is refused with EPERM.
        """
        if not self.flat.cells.get((state, call)):
            return ""
        rule = self.rule(state, call, facts)
        if rule is not None:
            return rule.outcome
        return "" if self.accepts(state, call) else "EPERM"

    def rule(self, state: str, call: str, facts: Mapping[str, str] | None = None) -> Rule | None:
        """The rule that refuses `call` in `state`, None where no rule does."""
        known = {name: fact for name, fact in (facts or {}).items() if name in self._facts}
        return self.flat.refusal(state, call, known)
