"""Which calls are blocked right now, in this process."""

from __future__ import annotations

from sockfsm.trace.events import Wait
from sockfsm.tracer import recorder
from sockfsm.tracer.session import session


def blocked() -> list[Wait]:
    """The calls of this process that wait in the kernel at this moment, the longest first."""
    now = {wait.thread.number: wait for wait in (session.trace.blocked() if session.trace else ())}
    return sorted(
        (now[thread] for thread in list(recorder.waiting) if thread in now),
        key=lambda wait: wait.begin,
    )
