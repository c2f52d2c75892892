"""The machines for users: the shared one, or one of your own to make it stricter."""

from __future__ import annotations

from sockfsm.model.executed import SocketMachine, build
from sockfsm.model.kinds import flat_of, machine_of


def machine(kind: str, *, fresh: bool = False) -> SocketMachine:
    """The `transitions` machine of a kind: the one that traced sockets run on, or a fresh copy.

    Hang callbacks on it as `transitions` documents them (`machine.on_enter_LISTENING(f)`,
    `machine.get_transitions("bind_ok")[0].add_callback("after", f)`); tracing that begins
    afterwards runs them. For a stricter machine take a fresh one, remove or condition transitions
    (`machine.remove_transition("listen_ok", source="CREATED")`) and pass it on:
    `sockfsm.tracing(mode="enforce", machines={"tcp": strict})`.
    UsageError for an unknown kind.
    """
    return build(flat_of(kind)) if fresh else machine_of(kind)
