"""States as rows: a socket's state *is* its row, and a row maps an outcome to (head, next row).

Rows are filled from the compiled machine when an outcome is first met, so that the hot path does one
lookup and one assignment. `head` is the finished head word of the log record.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from sockfsm.model.errnos import errno_number
from sockfsm.model.kinds import KINDS, OTHER, machine_of
from sockfsm.record.layout import (
    AFTER,
    BEFORE,
    DEFERRED,
    EOF,
    ERRNO,
    ERROR,
    METHODS,
    OK,
    OUTCOME,
    RAISED,
    REFUSED,
    TIMEOUT,
    UNEXPLAINED,
    UNRESOLVED,
)

if TYPE_CHECKING:
    from sockfsm.model.compiled import Compiled
    from sockfsm.model.executed import SocketMachine
    from sockfsm.model.rules import Rule

Entry = tuple[int, "Row"]
Key = int | tuple[int, str]
UNMODELLED = "-"
_CODES = {
    "ok": OK,
    "eof": EOF,
    "deferred": DEFERRED,
    "raised": RAISED,
    "timeout": TIMEOUT,
    "gaierror": UNRESOLVED,
}


def _word(method: int) -> str:
    """What refusals are looked up by: the call's word, or the method that tells more."""
    name, word = METHODS[method]
    return name if name in ("sendto", "sendmsg") else word


class Row(dict[Key, Entry]):
    """One state of one kind. Key: a method's number for `ok`, else (number, outcome)."""

    __slots__ = ("begun", "index", "kind", "state")

    def __init__(self, kind: Kind, state: str, index: int) -> None:
        super().__init__()
        self.kind = kind
        self.state = state
        self.index = index
        self.begun: dict[int, int] = {}

    def refusal(self, method: int) -> str:
        """The errno's name with which the machine refuses the method here, '' where it is legal."""
        compiled = self.kind.compiled
        return compiled.refusal(self.state, _word(method)) if compiled else ""

    def rule(self, method: int) -> Rule | None:
        """The rule by which it does; None where only a stricter machine of the user's refuses."""
        compiled = self.kind.compiled
        assert compiled is not None
        return compiled.rule(self.state, _word(method))


class Kind:
    """A kind's rows, made from its machine as it stands when tracing begins."""

    def __init__(self, name: str, compiled: Compiled | None) -> None:
        self.name = name
        self.number = (*KINDS, OTHER).index(name)
        self.compiled = compiled
        self.states = compiled.states if compiled else (UNMODELLED,)
        self.rows = {state: Row(self, state, i) for i, state in enumerate(self.states)}
        self.initial = self.rows[compiled.initial if compiled else UNMODELLED]

    def row(self, *states: str) -> Row:
        """The row of the first of `states` that this kind has."""
        return next((self.rows[s] for s in states if s in self.rows), self.initial)


class Tracked:
    """The model beside one socket: what `transitions` calls the model object, and its log identity.

    first_try: MSG_DONTWAIT where the socket blocks, so that a call that has to wait is told from
    one that has not; 0 where it never waits, -1 where it has a timeout. descriptors: how many
    `dup`s share it.
    """

    __slots__ = ("descriptors", "first_try", "number", "row")

    def __init__(self, number: int, row: Row) -> None:
        self.number = number
        self.row = row
        self.first_try = 0
        self.descriptors = 1

    @property
    def mode(self) -> str:
        """How its calls wait: `blocking`, `timeout` or `nonblocking`."""
        if self.first_try < 0:
            return "timeout"
        return "blocking" if self.first_try else "nonblocking"

    @property
    def state(self) -> str:
        """The flat state's name; `transitions` reads and sets it."""
        return self.row.state

    @state.setter
    def state(self, name: str) -> None:
        self.row = self.row.kind.rows[name]


def step(tracked: Tracked, method: int, outcome: str, variant: str = "") -> int:
    """Move `tracked` by one outcome of `method` and give the head word of its record.

    variant: see `model.variants.VARIANTS`; without it the blocking mode.
    """
    variant = variant or tracked.mode
    row = tracked.row
    key: Key = method if outcome == "ok" else (method, outcome)
    entry = row.get(key)
    if entry is None:
        compiled, word = row.kind.compiled, METHODS[method][1]
        trigger = compiled.trigger(row.state, word, outcome, variant) if compiled else ""
        if outcome in ("raised", "deferred") or compiled is None:
            entry = row[key] = head(row, row, method, outcome), row
        elif compiled.observed(row.state, trigger):
            # Never kept in the row: callbacks and conditions have to run each time.
            explained = compiled.run(tracked, trigger)
            marks = 0 if explained else UNEXPLAINED
            return head(row, tracked.row, method, outcome) | marks | judged(row, method)
        else:
            target = compiled.step(row.state, word, outcome, variant)
            if target is None:
                entry = head(row, row, method, outcome) | UNEXPLAINED | judged(row, method), row
            else:
                after = row.kind.rows[target]
                entry = head(row, after, method, outcome) | judged(row, method), after
            if not compiled.varies(row.state, word, outcome):
                row[key] = entry
    tracked.row = entry[1]
    return entry[0]


def judged(row: Row, method: int) -> int:
    """The mark of a call that the machine refuses in the state `row`."""
    return REFUSED if row.refusal(method) else 0


def head(before: Row, after: Row, method: int, outcome: str) -> int:
    """The head word of a record, see `record.layout`."""
    code = _CODES.get(outcome, ERROR)
    number = errno_number(outcome) if code == ERROR else 0
    return (
        method | before.index << BEFORE | after.index << AFTER | number << ERRNO | code << OUTCOME
    )


@cache
def unmodelled() -> Kind:
    """The rows of sockets that no machine covers: they are logged and never judged."""
    return Kind(OTHER, None)


def compile_kind(name: str, machine: SocketMachine | None = None) -> Kind:
    """A kind's rows. machine: a `transitions` machine in place of the shared one.

    The shared machine is compiled anew where the program has asked for it, and so may have changed it.
    """
    if name == OTHER:
        return unmodelled()
    if machine is None and "sockfsm.model.executed" not in sys.modules:
        from sockfsm.model.shipped import shipped

        return Kind(name, shipped(name))
    from sockfsm.model.compiled import Compiled

    return Kind(name, Compiled.of(machine or machine_of(name)))
