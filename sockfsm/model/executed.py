"""Makes the `transitions.Machine` of a flat machine. Each kind has one, which all its sockets share.

A model is any object with a `state` attribute. It need not be registered:

    machine = machine_of("tcp")
    machine.events["bind_ok"].trigger(model)

A trigger is `<call>_<outcome>`. Callbacks on transitions and states work as `transitions` documents
them. A stricter machine is one with transitions removed or conditions added.
"""

from __future__ import annotations

from collections.abc import Iterator

from transitions import Machine

from sockfsm.model.flat import FlatMachine


class SocketMachine(Machine):
    """A `transitions.Machine` that knows the flat machine it was made from (`.flat`)."""

    flat: FlatMachine


def build(flat: FlatMachine) -> SocketMachine:
    """Make the machine of a kind. A call that does not change the state is an internal transition."""
    machine = SocketMachine(
        model=None,
        states=list(flat.states),
        initial=flat.initial,
        auto_transitions=False,
        name=flat.kind,
    )
    machine.flat = flat
    for cell in (*flat, *flat.unseen()):
        target = None if cell.target == cell.state else cell.target
        machine.add_transition(cell.trigger, cell.state, target)
    return machine


def observed(machine: SocketMachine) -> Iterator[tuple[str, str]]:
    """Yield (source, trigger) of each transition with a callback or a condition."""
    everywhere = (
        machine.before_state_change,
        machine.after_state_change,
        machine.prepare_event,
        machine.finalize_event,
        machine.on_exception,
        machine.on_final,
    )
    everything = any(everywhere)
    entered = {name for name, state in machine.states.items() if state.on_enter}
    left = {name for name, state in machine.states.items() if state.on_exit}
    for trigger, event in machine.events.items():
        for source, transitions in event.transitions.items():
            for hop in transitions:
                moves = hop.dest is not None and (source in left or hop.dest in entered)
                hung = hop.prepare or hop.conditions or hop.before or hop.after
                if everything or moves or hung or len(transitions) > 1:
                    yield source, trigger
