"""One step of a socket that is watched: what a call's outcome tells of where it was and is.

The tracer keeps the answers in its rows (`tracer.rows`); whoever is in no such hurry asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sockfsm.model.variants import PROBE, UNASKED, understood

if TYPE_CHECKING:
    from sockfsm.model.compiled import Compiled
    from sockfsm.model.rules import Rule

UNMODELLED = "-"
"""The one state of sockets that no machine covers."""
GONE = frozenset({"CLOSED", "CLOSED_PATH_LEFT", "DETACHED", "EXITED"})
"""States in which the descriptor is closed or given away."""
UNJUDGED = frozenset({"raised", "deferred"})
"""Outcomes of which no machine speaks: the kernel was not asked, or not yet."""


class Observed(Protocol):
    """The model of one socket, on which `transitions` runs what the user hung on a transition."""

    state: str


class Step(NamedTuple):
    """What a call led to. states: all that the socket may be in now, as `Compiled` writes them.

    explained: the machine has such a transition. refused: it refuses the call there. lasting: the
    answer is the same each time, as nothing observes the transition.
    """

    states: str
    explained: bool
    refused: bool
    lasting: bool


class Stepping:
    """Steps the sockets of one kind. compiled: None for those that no machine covers."""

    def __init__(self, compiled: Compiled | None) -> None:
        self.compiled = compiled
        self.states = compiled.states if compiled else (UNMODELLED,)
        self.initial = self.states[0]
        self._moving: dict[str, tuple[str, ...]] = {}

    def step(
        self,
        states: str,
        method: str,
        call: str,
        outcome: str,
        variant: str = "",
        model: Observed | None = None,
    ) -> Step:
        """The step that `outcome` of `method` takes a socket in `states`.

        call: the method's word in the machine. variant: words of `variants.VARIANTS`, the blocking
        mode first. model: on which callbacks and conditions of a machine of the user's are run.
        """
        compiled, said = self.compiled, variant.split()
        if compiled is None or outcome in UNJUDGED or UNASKED in said:
            return Step(states, True, False, True)
        known = variant + _beside(method)
        refused = bool(self.refusal(states, method, call, known))
        word, known = understood(compiled.kind, call, known)
        target = compiled.step(states, word, outcome, known)
        if target is None and PROBE in said and outcome == "ok" and compiled.kind == "udp":
            # The refusal that it has passed by leads where it does: the socket has got a name.
            return Step(compiled.step(states, word, "EPIPE", known) or states, True, False, True)
        state, trigger = compiled.trigger(states, word, outcome, known)
        lasting = not compiled.observed(state, trigger)
        if model is None or lasting:
            return Step(target or states, target is not None, refused, lasting)
        model.state = state
        if not compiled.run(model, trigger):
            return Step(states, False, refused, lasting)
        after = target or states
        # A callback may have taken the model elsewhere.
        moved = model.state != after.partition("|")[0]
        return Step(model.state if moved else after, True, refused, lasting)

    def refusal(self, states: str, method: str, call: str, variant: str = "") -> str:
        """The errno's name with which the machine refuses the call, '' where it is legal."""
        if self.compiled is None:
            return ""
        word = (
            "sendto" if call == "send" and "address" in variant.split() else _telling(method, call)
        )
        word, variant = understood(self.compiled.kind, word, variant)
        return self.compiled.refusal(states, word, variant)

    def settled(self, states: str, method: str, call: str) -> bool:
        """Whether that errno is the same whatever surrounds the socket."""
        return self.compiled is not None and self.compiled.settled(states, _telling(method, call))

    def rule(self, states: str, method: str, call: str) -> Rule | None:
        """The rule that refuses; None where only a stricter machine of the user's does."""
        assert self.compiled is not None
        return self.compiled.rule(states, _telling(method, call))

    def moving(self, call: str) -> tuple[str, ...]:
        """The outcomes with which a call may move a socket that stays open."""
        found = self._moving.get(call)
        if found is None:
            moves = self.compiled.moves if self.compiled is not None else {}
            prefix = f"{call}_"
            # A trigger's name may go on with a variant: `connect_ok_timeout`.
            found = self._moving[call] = tuple(
                dict.fromkeys(
                    trigger[len(prefix) :].partition("_")[0]
                    for state, targets in moves.items()
                    for trigger, target in targets.items()
                    if trigger.startswith(prefix) and target != state and target not in GONE
                )
            )
        return found


def _beside(method: str) -> str:
    """What a method alone tells of the environment of its calls."""
    if method == "sendto":
        return " address"
    return " tls" if method.startswith("ssl.") else ""


def _telling(method: str, call: str) -> str:
    """What refusals are looked up by: the call's word, or the method where that tells more."""
    return method if method in ("sendto", "sendmsg") else call
