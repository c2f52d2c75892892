"""Sockets that somebody else holds too, and may have changed out of our sight: another process, or code
that has the descriptor's number.

Once a socket is shared, anything may have happened to it unseen. A call that the machine cannot explain
then is no contradiction: the kernel is asked where the socket is by now.
"""

from __future__ import annotations

import os
import socket as _stdlib

from sockfsm.model.compiled import joined
from sockfsm.model.stepping import GONE
from sockfsm.record.layout import UNEXPLAINED
from sockfsm.tracer import current
from sockfsm.tracer.buffers import integer
from sockfsm.tracer.current import Session
from sockfsm.tracer.rows import Model, Move, Row, step
from sockfsm.tracer.witness import can_be, facts

_RIGHTS = int(_stdlib.SCM_RIGHTS)


def share() -> None:
    """Every socket that is open now gets another holder, or may get one.

    To be told before a process is begun, and after it: another thread may make a socket meanwhile.
    """
    current.session.shared += 1


def has_descriptors(ancillary: object) -> bool:
    """Whether a message's ancillary data may hand descriptors to another process."""
    if type(ancillary) is not list and type(ancillary) is not tuple:
        return True
    return any(
        type(item) is not tuple or len(item) != 3 or integer(item[1]) == _RIGHTS
        for item in ancillary
    )


def shared(session: Session, model: Model) -> bool:
    """Whether somebody else may have changed its socket."""
    return model.age < session.shared


def changed(session: Session, sock: _stdlib.socket | None, model: Model, call: Move) -> Row | None:
    """Where the socket may be after a call that nothing of ours explains; None where nothing does."""
    seen = facts(sock) if sock is not None else None
    kind = call.before.kind
    if seen is None or kind.compiled is None:
        return None
    living = joined(s for s in kind.states if s not in GONE and s not in ("START", "RESOLVED"))
    assert living is not None
    bits, after = step(kind.among(living), call.method, call.outcome, call.variant)
    if bits & UNEXPLAINED:
        return None
    possible = set(after.states.split("|"))
    fitting = joined(s for s in kind.states if s in possible and can_be(s, seen))
    if fitting is None:
        return None
    if not model.told:
        model.told = True
        why = "changed by another process, or by its descriptor's number"
        session.log.note({"unseen": f"socket {model.number}", "why": why})
    return kind.among(fitting)


os.register_at_fork(before=share, after_in_parent=share)
