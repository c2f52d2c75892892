"""States as rows: a socket's state *is* its row, and a row maps an outcome to (head, next row).

Rows are filled from the compiled machine when an outcome is first met, so that the hot path does one
lookup and one assignment. `head` is the finished head word of the log record.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sockfsm.model.errnos import errno_number
from sockfsm.model.kinds import KINDS, OTHER, machine_of
from sockfsm.model.stepping import GONE, Stepping
from sockfsm.record import codec
from sockfsm.record.layout import ERROR, METHODS, REFUSED, UNEXPLAINED

if TYPE_CHECKING:
    from socket import socket
    from weakref import ReferenceType

    from sockfsm.model.compiled import Compiled
    from sockfsm.model.executed import SocketMachine
    from sockfsm.model.rules import Rule
    from sockfsm.tracer.current import Session
    from sockfsm.tracer.graves import Grave
    from sockfsm.tracer.ongoing import Ongoing

Entry = tuple[int, "Row"]
Key = int | tuple[int, str, str]
QUICK = {"blocking": 0, "nonblocking": -1}
"""Variant -> what the fast path's key for an `ok` is the method's number XORed with."""


class Row(dict[Key, Entry]):
    """One state of one kind.

    Key: (a method's number, outcome, variant), or for an `ok` the number alone, as QUICK changes it.
    states: all that the socket may be in, as `Compiled` writes them; state: the likeliest of
    them. gone: the descriptor is closed or given away.
    """

    __slots__ = ("_refusals", "gone", "index", "kind", "state", "states")

    def __init__(self, kind: Kind, states: str, index: int) -> None:
        super().__init__()
        self.kind = kind
        self.states = states
        self.state = states.partition("|")[0]
        self.index = index
        self.gone = self.state in GONE
        self._refusals: dict[int, str] = {}

    def anew(self) -> Row:
        """A row of the same states that has met no outcome yet."""
        return Row(self.kind, self.states, self.index)

    def refusal(self, method: int) -> str:
        """The errno's name with which the machine refuses the method here, '' where it is legal."""
        found = self._refusals.get(method)
        if found is None:
            found = self.kind.stepping.refusal(self.states, *METHODS[method])
            self._refusals[method] = found
        return found

    def settled(self, method: int) -> bool:
        """Whether the errno is the same whatever surrounds the socket."""
        return self.kind.stepping.settled(self.states, *METHODS[method])

    def rule(self, method: int) -> Rule | None:
        """The rule by which it does; None where only a stricter machine of the user's refuses."""
        return self.kind.stepping.rule(self.states, *METHODS[method])


class Kind:
    """A kind's rows, made from its machine as it stands when tracing begins."""

    def __init__(self, name: str, compiled: Compiled | None) -> None:
        self.name = name
        self.number = (*KINDS, OTHER).index(name)
        self.compiled = compiled
        self.stepping = Stepping(compiled)
        self.states = self.stepping.states
        self.rows = {state: Row(self, state, i) for i, state in enumerate(self.states)}
        self.initial = self.rows[self.stepping.initial]
        self.closed = self.rows.get("CLOSED", self.initial)

    def among(self, states: str) -> Row:
        """The row of these possible states, as `Compiled` writes them."""
        row = self.rows.get(states)
        if row is None:
            index = self.rows[states.partition("|")[0]].index
            row = self.rows[states] = Row(self, states, index)
        return row

    def row(self, *states: str) -> Row:
        """The row of the first of `states` that this kind has."""
        return next((self.rows[s] for s in states if s in self.rows), self.initial)


class Move(NamedTuple):
    """A call that took a socket elsewhere, or may. before: where the model was."""

    begin: int
    end: int
    method: int
    outcome: str
    variant: str
    before: Row


class Model:
    """The model of one kernel socket: what `transitions` calls the model object, and its log identity.

    descriptors: how many `dup`s share the socket. cookie: the kernel's number for it, 0 until it was
    asked for, -1 where the kernel does not say. waiters: the threads that are blocked in a call on it.
    closing: its last descriptor was closed while a thread was, and so the kernel still holds it.
    flying: the calls under way that may move the socket, by `id`. moves: the last that did.
    age: `Session.shared` at its birth, -1 for a socket from elsewhere. told: that it was changed there.
    lowat: SO_RCVLOWAT was set, so that trying without waiting would take less than a blocking call.
    """

    __slots__ = (
        *("age", "closing", "cookie", "descriptors", "flying", "lowat", "moves", "number", "row"),
        *("told", "waiters"),
    )

    def __init__(self, number: int, row: Row, age: int = -1) -> None:
        self.number = number
        self.row = row
        self.descriptors = 0
        self.cookie = 0
        self.waiters: set[int] | None = None
        self.flying: dict[int, ReferenceType[Ongoing]] = {}
        self.moves: tuple[Move, ...] = ()
        self.age = age
        self.told = False
        self.closing = False
        self.lowat = False

    @property
    def state(self) -> str:
        """The flat state's name; `transitions` reads and sets it."""
        return self.row.state

    @state.setter
    def state(self, name: str) -> None:
        self.row = self.row.kind.rows[name]


class Tracked:
    """One socket object of the program. The objects that `dup` made share a model.

    first_try: MSG_DONTWAIT where the object blocks, so that a call that has to wait is told from one
    that has not; 0 where it never waits, -1 where it has a timeout or must not be tried so. open:
    whether it holds a descriptor.
    """

    __slots__ = ("first_try", "grave", "mode", "model", "open", "session")

    def __init__(self, session: Session, model: Model) -> None:
        self.session = session
        self.model = model
        self.first_try = 0
        self.mode = "nonblocking"
        """How its calls wait: `blocking`, `timeout` or `nonblocking`."""
        self.open = True
        self.grave: Grave | None = None

    def sock(self) -> socket | None:
        """The socket object, while it lives."""
        return self.grave() if self.grave is not None else None

    @property
    def row(self) -> Row:
        """Where a call on this object begins. What it closed is closed, though a twin lives on."""
        row = self.model.row
        return row if self.open or row.gone else row.kind.closed


def step(
    row: Row, method: int, outcome: str, variant: str, model: Model | None = None
) -> tuple[int, Row]:
    """The head word of a record, and the row after it, for one outcome of `method` in `row`.

    variant: words of `model.variants.VARIANTS`, the blocking mode first. model: on which callbacks and
    conditions of a machine of the user's are run.
    """
    key = (method, outcome, variant)
    entry = row.get(key)
    if entry is not None:
        return entry
    name, word = METHODS[method]
    stepped = row.kind.stepping.step(row.states, name, word, outcome, variant, model)
    after = row.kind.among(stepped.states)
    bits = head(row, after, method, outcome) | REFUSED * stepped.refused
    entry = bits | UNEXPLAINED * (not stepped.explained), after
    # What is observed is never kept in the row: callbacks and conditions have to run each time.
    if not stepped.lasting:
        if model is not None:
            model.row = after
        return entry
    row[key] = entry
    if outcome == "ok" and variant in QUICK:
        row[method ^ QUICK[variant]] = entry
    return entry


def head(before: Row, after: Row, method: int, outcome: str) -> int:
    """The head word of a record, see `record.layout`."""
    code = codec.code_of(outcome)
    number = errno_number(outcome) if code == ERROR else 0
    return codec.head(method, before.index, after.index, errno=number, outcome=code)


@cache
def unmodelled() -> Kind:
    """The rows of sockets that no machine covers: they are logged and never judged.

    The same in every session, as no machine of a user's is in them.
    """
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
