"""A protocol above sockets: its machine, and how its messages are read from bytes.

The machine is a `Table`, as that of a kind of socket: the *calls* are what the client asks for, the
*outcomes* are what the server answers, `ok` or a code. So the pictures, predictions and views of
sockets are those of protocols, too. A machine of `transitions` will do as well:

    HOMEWORK = Protocol(table_of_machine(machine), requests)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.model.flat import FlatMachine
from sockfsm.model.rules import OK, Rule, Table, rule

if TYPE_CHECKING:
    from transitions import Machine

CLIENT, SERVER = "client", "server"

Message = tuple[str, int]
"""The name of a message, and how many bytes it takes."""

Reader = Callable[[bytes, str], Message | None]
"""Finds the first message in bytes that begin with one; None where it is not complete yet.

ValueError for bytes that are no message of the protocol. The second argument of a reader of requests
is the state of the dialogue; of a reader of replies it is the request that is answered.
"""


@dataclass(frozen=True)
class Protocol:
    """A machine, and the readers of its messages.

    requests: reads what the client sends. replies: reads what the server sends, as the outcome of the
    oldest request that has none yet; None where nothing is answered: then a request is `ok` where the
    machine takes it. greeting: the request that a server's first message answers, sent by nobody; ''
    where the client speaks first. ports: where servers of it listen.
    """

    table: Table
    requests: Reader
    replies: Reader | None = None
    greeting: str = ""
    ports: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return self.table.kind

    @cached_property
    def machine(self) -> FlatMachine:
        """The flat machine, with named states."""
        return FlatMachine(self.table)


def table_of_machine(machine: Machine, *, name: str, title: str = "") -> Table:
    """The table of a `transitions` machine: its triggers are the requests.

    A trigger without a transition from a state is refused there, with the outcome `refused`. Conditions
    and callbacks of the machine are not asked. UsageError for a machine whose states are nested.
    """
    states = tuple(machine.states)
    if any(getattr(state, "states", None) for state in machine.states.values()):
        raise UsageError(f"{name}: a machine with states inside states cannot be a protocol")
    # A condition is one word; what is shown is the machine's own name.
    word = {state: re.sub(r"\W", "_", state) for state in states}
    first = str(machine.initial)
    rules: list[Rule] = []
    for trigger in machine.events:
        if trigger.startswith("to_") and trigger[3:] in states:
            continue  # `transitions` adds these by itself, one for each state
        for step in machine.get_transitions(trigger):
            then = f"state={word[step.dest]}" if step.dest is not None else ""
            rules.append(
                rule(trigger, f"state={word[step.source]}", OK, then, why="The machine takes it here.",
                     source=name)
            )  # fmt: skip
        rules.append(
            rule(trigger, "", "refused", why="The machine has no such transition here.",
                 source=name)
        )  # fmt: skip
    ordered = (first, *(state for state in states if state != first))
    return Table(
        kind=name,
        title=title or name,
        parts={"state": tuple(word[state] for state in ordered)},
        environment={},
        rules=tuple(rules),
        names=tuple((f"state={word[state]}", state) for state in ordered),
        words={"state": "The machine's own state."},
    )
