"""Whether a call failed because of the order of the program's calls, or because of its surroundings."""

from __future__ import annotations

from functools import lru_cache

from sockfsm.events import Call
from sockfsm.model.kinds import KINDS, flat_of


def out_of_order(call: Call) -> bool:
    """Whether the call was refused because of the state that the socket was in.

    `listen` on a connected socket was. A `connect` where nobody listens, or a `bind` to a name that is
    taken, was not: the same call in the same state would succeed elsewhere.
    """
    if not call.refused:
        return False
    # The model refuses it in every environment.
    if call.predicted or call.enforced:
        return True
    return call.socket is not None and _refused_by_state(call.socket.kind, call.before, call.call)


@lru_cache(4096)
def _refused_by_state(kind: str, state: str, call: str) -> bool:
    """Whether `call` is refused even in the reference environment, where nothing else is in the way."""
    if kind not in KINDS:
        return False
    flat = flat_of(kind)
    if state not in flat.states or call not in flat.calls:
        return False
    rule = flat.table.predict(call, flat.states[state], flat.table.reference)
    return rule is not None and rule.refused
