"""Which calls are blocked right now, in this process."""

from __future__ import annotations

import os

from sockfsm.events import Process, Site, Socket, Thread, Wait
from sockfsm.record.layout import METHODS
from sockfsm.tracer import current
from sockfsm.tracer.current import Session
from sockfsm.tracer.rows import Model
from sockfsm.tracer.sockets import objects


def blocked() -> list[Wait]:
    """The calls of this process that wait in the kernel at this moment, the longest first."""
    session = current.session
    process = Process(os.getpid(), os.getppid(), session.log.path, (), 0, 0)
    waits = [
        Wait(
            since,
            None,
            Thread(number, *session.threads.living.get(number, (0, ""))),
            _socket(session, model, process),
            METHODS[method][0],
            Site(*place) if (place := session.places.named.get(site)) else None,
        )
        for number in list(session.waiting)
        if (wait := session.waiting.get(number)) is not None
        for model, method, since, site in (wait,)
    ]
    return sorted(waits, key=lambda wait: wait.begin)


def _socket(session: Session, model: Model | None, process: Process) -> Socket | None:
    """The socket as a trace would show it; None for a call without one, such as getaddrinfo."""
    sock = next(objects(session, model), None) if model is not None else None
    if model is None or sock is None:
        return None
    return Socket(
        f"{process.pid}.{model.number}",
        model.number,
        process,
        model.row.kind.name,
        sock.family,
        sock.type,
        sock.proto,
        sock.fileno(),
        "",
    )
