"""Predicts how a sequence of calls would end, from the rules alone, without asking the kernel.

Unless told otherwise it does so in the *reference environment*: the socket is non-blocking; there is
one live listener (stream) or bound peer (datagram) of the same kind, which has room, and never accepts,
sends or closes; each bind() uses a new name; connect() goes to the peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from sockfsm.errors import UsageError, nearest
from sockfsm.model.kinds import flat_of, table_of
from sockfsm.model.rules import ACCEPTED, EOF, OK, WITHOUT_DESCRIPTOR, Parts, Rule, Table

CREATED = "CREATED"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One call of a sequence, as the model sees it.

    outcome: `ok` or an errno's name; would-block is EAGAIN, a TCP connect under way EINPROGRESS.
    end_of_stream: the call is a recv() that gives b'' (its outcome is `ok`). before, after: the
    states' names. legal: the kernel does not refuse it. lint: the name of the mistake that the call
    almost always is although the kernel lets it through, else ''. why, source: the rule's reason
    and where it stands written; note: how POSIX or the BSDs differ. legal_calls: the calls that the
    kernel would not refuse in `before`.
    """

    call: str
    before: str
    outcome: str
    after: str
    legal: bool
    lint: str
    why: str
    source: str
    note: str
    legal_calls: tuple[str, ...]
    end_of_stream: bool = False

    @property
    def verdict(self) -> str:
        """`refused`, `lint` (let through, although almost always a mistake) or `legal`."""
        if not self.legal:
            return "refused"
        return "lint" if self.lint else "legal"


class Situation:
    """The parts of a socket. steps: call -> (outcome, next situation, rule), as far as predicted."""

    __slots__ = ("name", "parts", "steps")

    def __init__(self, parts: Parts, name: str) -> None:
        self.parts = parts
        self.name = name
        self.steps: dict[str, tuple[str, Situation, Rule]] = {}


class Predictor:
    """Predicts calls of a kind in one environment. Each (situation, call) is worked out once."""

    def __init__(self, kind: str, given: Mapping[str, str] | None = None) -> None:
        self.table = table_of(kind)
        self.kind = kind
        self.environment = environment(self.table, given or {})
        self._situations: dict[Parts, Situation] = {}
        self.start = self._situation(self.table.initial)
        # A protocol above sockets makes none.
        self.created = self.born("create") if "create" in self.table.calls else self.start

    def born(self, call: str) -> Situation:
        """The situation after this call has made the socket, whatever the environment."""
        entry = self.table.predict(call, self.table.initial, self.table.reference)
        assert entry is not None
        return self._situation(self.table.after(entry, self.table.initial))

    def _situation(self, parts: Parts) -> Situation:
        situation = self._situations.get(parts)
        if situation is None:
            situation = self._situations[parts] = Situation(parts, self.table.name(parts))
        return situation

    def step(self, situation: Situation, call: str) -> tuple[str, Situation, Rule]:
        """(outcome in the machine's words, next situation, rule). UsageError for an impossible call."""
        found = situation.steps.get(call)
        if found is None:
            found = situation.steps[call] = self._work_out(situation, call)
        return found

    def _work_out(self, situation: Situation, call: str) -> tuple[str, Situation, Rule]:
        entry = self.table.predict(call, situation.parts, self.environment)
        if entry is None:
            if call not in self.table.calls:
                raise UsageError(
                    f"no call {call!r} for {self.kind}: {nearest(call, self.table.calls)}"
                )
            raise UsageError(
                f"{call} makes a socket of its own, and in {situation.name} there is one already: "
                f"put {call} first"
            )
        return entry.outcome, self._situation(self.table.after(entry, situation.parts)), entry

    def origin(self, calls: Iterable[str], state: str = "") -> Situation:
        """Where a sequence begins: `state`, or START when its first call makes the socket."""
        if state:
            flat = flat_of(self.kind)
            if state not in flat.states:
                raise UsageError(
                    f"no state {state!r} of {self.kind}: {nearest(state, flat.states)}"
                )
            return self._situation(flat.states[state])
        first = next(iter(calls), "")
        made = first in WITHOUT_DESCRIPTOR and first != "exit"
        return self.start if made else self.created

    def legal_calls(self, situation: Situation) -> tuple[str, ...]:
        """The calls that are not refused here, in this environment."""
        return tuple(
            call
            for call in self.table.calls
            if (entry := self.table.predict(call, situation.parts, self.environment)) is not None
            and not entry.refused
        )

    def predict(self, calls: Iterable[str], state: str = "") -> list[Prediction]:
        """One prediction per call; see the module's `predict`."""
        words = list(calls)
        situation = self.origin(words, state)
        predictions = []
        for call in words:
            outcome, after, entry = self.step(situation, call)
            predictions.append(
                Prediction(
                    call=call,
                    before=situation.name,
                    outcome=OK if outcome == EOF else outcome,
                    after=after.name,
                    legal=outcome in ACCEPTED,
                    lint=entry.lint,
                    why=entry.why,
                    source=entry.source,
                    note=entry.note,
                    legal_calls=self.legal_calls(situation),
                    end_of_stream=outcome == EOF,
                )
            )
            situation = after
        return predictions


def environment(table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """The reference environment with `given` facts changed. UsageError for unknown ones."""
    facts = table.reference
    for fact, value in given.items():
        if fact not in facts:
            raise UsageError(f"no fact {fact!r} for {table.kind}: there are {', '.join(facts)}")
        if value not in table.environment[fact]:
            known = ", ".join(table.environment[fact])
            raise UsageError(f"{fact} cannot be {value!r}: it is one of {known}")
        facts[fact] = value
    return facts


@cache
def _predictor(kind: str, given: tuple[tuple[str, str], ...]) -> Predictor:
    return Predictor(kind, dict(given))


def predict(
    kind: str,
    calls: Iterable[str],
    *,
    given: Mapping[str, str] | None = None,
    state: str = "",
) -> list[Prediction]:
    """Predict how each of `calls` would end, made one after the other on a socket of `kind`.

    calls: words such as "bind", "listen", "shutdown_wr"; `sockfsm machine KIND` lists them. The
    socket is fresh (state CREATED), or not made yet if the first call makes it. state: begin there
    instead. given: facts of the environment that differ from the reference one, such as
    {"peer": "refuses", "mode": "blocking"}. UsageError for an unknown kind, call, fact or state.
    """
    if isinstance(calls, str):
        calls = calls.split()
    return _predictor(kind, tuple(sorted((given or {}).items()))).predict(calls, state)
