"""A flat lookup, compiled from a `transitions` machine: for the runtime, where 9 us are too much.

The machine is the authority: transitions that somebody removed are not in the lookup, and where a
callback or a condition hangs on a transition the lookup says so, for the caller to run the trigger.
What is compiled is plain strings in plain dicts: it can be stored, and the garbage collector, which
the traced program may call often, has next to nothing to visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from sockfsm.model.variants import VARIANTS

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine
    from sockfsm.model.flat import FlatMachine
    from sockfsm.model.rules import Rule

FACTS: dict[str, dict[str, str]] = {
    "send": {"to": "none"},
    "sendto": {"to": "address"},
    "sendmsg": {},
}
"""What a word for sending tells of the environment; a `sendmsg` may have an address or not."""
KNOWN = {"history": "complete"}
"""What is known whatever the call: the tracer sees all that happens to a socket."""


class Compiled:
    """(state, call, outcome) -> next state, and which calls are refused, as the machine stood.

    moves: state -> trigger -> next state. refusals: state -> call, or one of FACTS -> errno's name.
    """

    def __init__(
        self,
        kind: str,
        initial: str,
        moves: Mapping[str, Mapping[str, str]],
        refusals: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.kind = kind
        self.initial = initial
        self.states = tuple(moves)
        self.moves = moves
        self.refusals = refusals
        self._machine: SocketMachine | None = None
        self._observed: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, machine: SocketMachine) -> Compiled:
        """Compile a machine; it is kept only if something observes its transitions."""
        from sockfsm.model.executed import observed

        moves: dict[str, dict[str, str]] = {state: {} for state in machine.states}
        for trigger, event in machine.events.items():
            for source, transitions in event.transitions.items():
                for transition in transitions[:1]:
                    moves[source][trigger] = transition.dest or source
        flat = machine.flat
        refusals = {
            state: {**_forbidden(flat, state, moves[state]), **ruled}
            for state, ruled in _ruled(flat).items()
        }
        watched = set(observed(machine))
        compiled = cls(flat.kind, flat.initial, moves, refusals)
        if watched:
            compiled._machine, compiled._observed = machine, frozenset(watched)
        return compiled

    def data(self) -> dict[str, Any]:
        """The lookup as JSON-able data, for `Compiled(**data)`."""
        return {
            "kind": self.kind,
            "initial": self.initial,
            "moves": self.moves,
            "refusals": self.refusals,
        }

    def trigger(self, state: str, call: str, outcome: str, variant: str = "") -> str:
        """The trigger's name: with the variant where the outcome leads elsewhere in it."""
        usual = f"{call}_{outcome}"
        moves = self.moves[state]
        words = reversed(variant.split())
        return next((s for word in words if (s := f"{usual}_{word}") in moves), usual)

    def varies(self, state: str, call: str, outcome: str) -> bool:
        """Whether where the outcome leads depends on the variant."""
        return any(f"{call}_{outcome}_{variant}" in self.moves[state] for variant in VARIANTS)

    def step(self, state: str, call: str, outcome: str, variant: str = "") -> str | None:
        """The state after this outcome of `call`, None when the machine has no such transition."""
        return self.moves[state].get(self.trigger(state, call, outcome, variant))

    def observed(self, state: str, trigger: str) -> bool:
        """Whether the transition has to be run by `transitions`, for its callbacks or conditions."""
        return (state, trigger) in self._observed

    def run(self, model: object, trigger: str) -> bool:
        """Run the real trigger on `model`; False when no transition was executed."""
        assert self._machine is not None
        event = self._machine.events.get(trigger)
        return event is not None and bool(event.trigger(model))

    def refusal(self, state: str, word: str) -> str:
        """The errno's name with which a call is refused in `state`, '' where it is legal.

        word: a call, or one of FACTS. A call that only a stricter machine forbids gives EPERM.
        """
        return self.refusals[state].get(word, "")

    def legal(self, state: str) -> tuple[str, ...]:
        """The calls on the socket itself that are taken in `state`."""
        from sockfsm.model.kinds import flat_of
        from sockfsm.model.rules import WITHOUT_DESCRIPTOR

        flat = flat_of(self.kind)
        return tuple(
            call
            for call in flat.calls
            if call not in WITHOUT_DESCRIPTOR
            and flat.cells.get((state, call))
            and not self.refusal(state, call)
        )

    def rule(self, state: str, word: str) -> Rule | None:
        """The rule that refuses a call; None where it is legal, or only a stricter machine refuses."""
        from sockfsm.model.kinds import flat_of

        return _rule(flat_of(self.kind), state, word)


def _rule(flat: FlatMachine, state: str, word: str) -> Rule | None:
    facts = {**KNOWN, **FACTS.get(word, {})}
    known = {name: fact for name, fact in facts.items() if name in flat.table.environment}
    return flat.refusal(state, _call(word), known)


def _call(word: str) -> str:
    return "send" if word in FACTS else word


@cache
def _ruled(flat: FlatMachine) -> dict[str, dict[str, str]]:
    """state -> word -> errno's name, of the calls that the rules refuse."""
    words = [*flat.calls, *(word for word in FACTS if word not in flat.calls)]
    return {
        state: {word: rule.outcome for word in words if (rule := _rule(flat, state, word))}
        for state in flat.states
    }


def _forbidden(flat: FlatMachine, state: str, moves: Mapping[str, str]) -> dict[str, str]:
    """The calls that the rules would take, and of which a stricter machine has no transition left."""
    from sockfsm.model.rules import ACCEPTED

    return {
        call: "EPERM"
        for call in flat.calls
        if flat.cells[state, call] and not any(f"{call}_{way}" in moves for way in ACCEPTED)
    }
