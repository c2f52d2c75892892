"""A flat machine as a `transitions.Machine`: one shared machine per kind executes the model.

Models are any objects with a `state` attribute; they need not be registered:

    machine = machine_of("tcp")
    machine.events["bind_ok"].trigger(model)

A trigger is `<call>_<outcome>`. Callbacks hung on transitions or states work as `transitions`
documents them; a stricter machine is one with transitions removed or conditions added.
"""

from __future__ import annotations

from typing import Any

from transitions import Machine

from sockfsm.model.flat import FlatMachine


class SocketMachine(Machine):
    """A `transitions.Machine` that knows the flat machine it was made from (`.flat`)."""

    flat: FlatMachine


def build(flat: FlatMachine) -> SocketMachine:
    """The `transitions` machine of a kind. A call that leaves the state alone is an internal one."""
    machine = SocketMachine(
        model=None,
        states=list(flat.states),
        initial=flat.initial,
        auto_transitions=False,
        name=flat.kind,
    )
    machine.flat = flat
    for cell in flat:
        target = None if cell.target == cell.state else cell.target
        machine.add_transition(cell.trigger, cell.state, target)
    return machine


def observed(machine: SocketMachine, transition: Any) -> bool:
    """Whether somebody hung a callback or a condition where `transition` passes."""
    if machine.before_state_change or machine.after_state_change or machine.prepare_event:
        return True
    if machine.finalize_event or machine.on_exception or machine.on_final:
        return True
    if transition.prepare or transition.conditions or transition.before or transition.after:
        return True
    if transition.dest is None:
        return False
    source, target = machine.get_state(transition.source), machine.get_state(transition.dest)
    return bool(source.on_exit or target.on_enter)
