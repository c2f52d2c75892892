"""Compiles a `transitions` machine to a lookup table for the tracer: a trigger would take 9 us.

The machine decides. Transitions that were removed from it are not in the table. If a transition has a
callback or a condition, the table says so, and the caller runs the trigger. The table has only strings
in dicts, so it can be stored, and costs little when the traced program runs the garbage collector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
"""What the word for a way of sending says of the environment. `sendmsg` may have an address or not."""
_UNSEEN = {"limit": "none", "signal": "none", "lookup": "succeeds", "size": "fits"}
"""What is assumed when a refusal is predicted."""
KNOWN = {"history": "complete", "length": "some", "flag": "none", "layer": "none"}
"""What is known of a call without a variant: the tracer has seen all calls on the socket."""
_TELLING = ("auto", "zero", "peek", "oob", "errqueue", "fastopen", "tls")
"""The variants in which a call may succeed that is refused otherwise."""

TABLES = ("moves", "ways", "refusals", "excused")
Ways = Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]


class Compiled:
    """(state, call, outcome) -> next state, and the refused calls, of the machine when it was compiled.

    The tracer may not know which of several states a socket is in, because a peer's FIN or reset shows
    later, or never. Then a state here is all of them, joined by `|`, the likeliest first.

    moves: state -> trigger -> next state. ways: state -> call_outcome -> variant -> the triggers that
    may have happened, the likeliest first, with `?` before those that must not be relied on; left out
    if there is only one. refusals: state -> call, or one of FACTS -> name of the errno. excused: state
    -> call or fact -> the variants in which the call may succeed all the same. Each has every state,
    the initial one first.
    """

    def __init__(
        self,
        kind: str,
        moves: Mapping[str, Mapping[str, str]],
        ways: Ways,
        refusals: Mapping[str, Mapping[str, str]],
        excused: Mapping[str, Mapping[str, tuple[str, ...]]],
    ) -> None:
        self.kind = kind
        self.states = tuple(moves)
        self.initial = self.states[0]
        self.moves = moves
        self.ways = ways
        self.refusals = refusals
        self.excused = excused
        self._machine: SocketMachine | None = None
        self._observed: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, machine: SocketMachine) -> Compiled:
        """Compile a machine. Keeps it only if its transitions have callbacks or conditions."""
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
        compiled = cls(flat.kind, moves, _ways(flat), refusals, _excused(flat))
        if watched:
            compiled._machine, compiled._observed = machine, frozenset(watched)
        return compiled

    def tables(self) -> dict[str, Mapping[str, Any]]:
        """The tables as data for JSON; `Compiled(kind, **tables)` makes them one again."""
        return {name: getattr(self, name) for name in TABLES}

    def step(self, state: str, call: str, outcome: str, variant: str = "") -> str | None:
        """The state after this outcome of `call`; None if the machine has no such transition."""
        return joined(target for _, _, target in self._taken(state, call, outcome, variant))

    def trigger(self, state: str, call: str, outcome: str, variant: str = "") -> tuple[str, str]:
        """(state, trigger) of the likeliest transition, for `observed` and `run`."""
        for member, trigger, _ in self._taken(state, call, outcome, variant):
            return member, trigger
        return state.partition("|")[0], f"{call}_{outcome}"

    def _taken(
        self, state: str, call: str, outcome: str, variant: str
    ) -> list[tuple[str, str, str]]:
        """(state, trigger, next state) of all transitions that fit, the likeliest first."""
        sure: list[tuple[str, str, str]] = []
        aside: list[tuple[str, str, str]] = []
        for member in state.split("|"):
            moves = self.moves[member]
            for trigger in self._triggers(member, f"{call}_{outcome}", variant):
                name = trigger.removeprefix("?")
                if name not in moves:
                    break  # a stricter machine has no such transition
                (sure if name is trigger else aside).append((member, name, moves[name]))
        return sure + aside

    def _triggers(self, state: str, usual: str, variant: str) -> tuple[str, ...]:
        ways = self.ways[state].get(usual)
        if ways is None:
            return (usual,)
        said = variant.split()
        telling = {word for words in ways for word in words.split()}
        return ways.get(" ".join(w for w in VARIANTS if w in said and w in telling), ())

    def observed(self, state: str, trigger: str) -> bool:
        """Whether the transition has callbacks or conditions, so that `transitions` must run it."""
        return (state, trigger) in self._observed

    def run(self, model: object, trigger: str) -> bool:
        """Run the trigger on `model`. False if no transition was executed."""
        assert self._machine is not None
        event = self._machine.events.get(trigger)
        return event is not None and bool(event.trigger(model))

    def refusal(self, state: str, word: str, variant: str = "") -> str:
        """The name of the errno with which a call is refused in `state`; '' if it may succeed.

        word: a call, or one of FACTS. A call that only a stricter machine forbids gives EPERM.
        """
        first = ""
        said = variant.split()
        for member in state.split("|"):
            refused = self.refusals[member].get(word, "")
            excuses = self.excused[member].get(word, ()) if said else ()
            if not refused or any(excuse in said for excuse in excuses):
                return ""
            first = first or refused
        return first

    def legal(self, state: str) -> tuple[str, ...]:
        """The calls on the socket itself that are legal in `state`."""
        from sockfsm.model.kinds import flat_of
        from sockfsm.model.rules import WITHOUT_DESCRIPTOR

        flat, shown = flat_of(self.kind), state.partition("|")[0]
        return tuple(
            call
            for call in flat.calls
            if call not in WITHOUT_DESCRIPTOR
            and flat.cells.get((shown, call))
            and not self.refusal(state, call)
        )

    def settled(self, state: str, word: str) -> bool:
        """Whether a refused call has the same errno whatever its address or peer.

        Limits (descriptors, memory, the size of a datagram) and names that must be looked up are not
        considered.
        """
        from sockfsm.model.kinds import flat_of

        flat = flat_of(self.kind)
        return all(_settled(flat, member, word) for member in state.split("|"))

    def rule(self, state: str, word: str) -> Rule | None:
        """The rule that refuses a call; None if no rule does, even if a stricter machine does."""
        from sockfsm.model.kinds import flat_of

        return _rule(flat_of(self.kind), state.partition("|")[0], word)


def joined(states: Iterator[str]) -> str | None:
    """Several states as one text, the likeliest first; the same states always give the same text."""
    distinct = list(dict.fromkeys(states))
    return "|".join((distinct[0], *sorted(distinct[1:]))) if distinct else None


@cache
def _settled(flat: FlatMachine, state: str, word: str) -> bool:
    """See `Compiled.settled`. Python's own wait is no answer of the kernel."""
    rules = flat.table.fitting(
        _call(word), flat.states[state], _facts(flat, {**KNOWN, **_UNSEEN, **FACTS.get(word, {})})
    )
    return len({rule.outcome for rule in rules if not rule.aside}) == 1


def _facts(flat: FlatMachine, facts: Mapping[str, str]) -> dict[str, str]:
    return {name: fact for name, fact in facts.items() if name in flat.table.environment}


def _rule(flat: FlatMachine, state: str, word: str, excuse: str = "") -> Rule | None:
    """The rule that refuses a call in every environment; None if there is one in which it succeeds.

    That includes environments that must not be relied on: a call that may succeed must not be stopped.
    """
    known = _facts(flat, {**KNOWN, **FACTS.get(word, {}), **VARIANTS.get(excuse, {})})
    rules = flat.table.fitting(_call(word), flat.states[state], known)
    if any(rule.outcome in ("ok", "eof") for rule in rules):
        return None
    return flat.refusal(state, _call(word), known)


def _call(word: str) -> str:
    return "send" if word in FACTS else word


def _words(flat: FlatMachine) -> list[str]:
    return [*flat.calls, *(word for word in FACTS if word not in flat.calls)]


@cache
def _ruled(flat: FlatMachine) -> dict[str, dict[str, str]]:
    """state -> word -> name of the errno, for the calls that the rules refuse."""
    return {
        state: {word: rule.outcome for word in _words(flat) if (rule := _rule(flat, state, word))}
        for state in flat.states
    }


@cache
def _excused(flat: FlatMachine) -> dict[str, dict[str, tuple[str, ...]]]:
    """state -> word -> the variants in which a call that the rules refuse may succeed."""
    found: dict[str, dict[str, tuple[str, ...]]] = {state: {} for state in flat.states}
    for state, refused in _ruled(flat).items():
        for word in refused:
            excuses = tuple(e for e in _TELLING if _rule(flat, state, word, e) is None)
            if excuses:
                found[state][word] = excuses
    return found


@cache
def _ways(flat: FlatMachine) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    """See `Compiled`: state -> call_outcome -> variant -> triggers, if there is more than one."""
    found: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {state: {} for state in flat.states}
    for (state, call), variants in flat.ways.items():
        for outcome in dict.fromkeys(o for outcomes in variants.values() for o in outcomes):
            told = {
                variant: tuple(
                    "?" * (cell.rule.aside and cell.rule.call != "*") + cell.trigger
                    for cell in outcomes.get(outcome, ())
                )
                for variant, outcomes in variants.items()
            }
            usual = f"{call}_{outcome}"
            if any(triggers != (usual,) for triggers in told.values()):
                found[state][usual] = _short(told)
    return found


def _short(told: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Leave out the words that make no difference."""
    for word in dict.fromkeys(word for variant in told for word in variant.split()):
        without = {variant: " ".join(w for w in variant.split() if w != word) for variant in told}
        if all(told[variant] == told[rest] for variant, rest in without.items()):
            told = {rest: told[rest] for rest in dict.fromkeys(without.values())}
    return told


def _forbidden(flat: FlatMachine, state: str, moves: Mapping[str, str]) -> dict[str, str]:
    """The calls that are legal by the rules, but of which a stricter machine has no transition left."""
    from sockfsm.model.rules import ACCEPTED

    taken = {
        call: [cell.trigger for cell in flat.cells[state, call] if cell.outcome in ACCEPTED]
        for call in flat.calls
    }
    return {
        call: "EPERM"
        for call, triggers in taken.items()
        if triggers and not any(trigger in moves for trigger in triggers)
    }
