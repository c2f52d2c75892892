"""Which calls are blocked right now, in this process."""

from __future__ import annotations

import os

from sockfsm.record.layout import METHODS
from sockfsm.trace.events import Process, Site, Socket, Thread, Wait
from sockfsm.tracer import recorder
from sockfsm.tracer.rows import Tracked
from sockfsm.tracer.sockets import objects


def blocked() -> list[Wait]:
    """The calls of this process that wait in the kernel at this moment, the longest first."""
    process = Process(os.getpid(), os.getppid(), recorder.log.path, (), 0, 0)
    waits = [
        Wait(
            since,
            None,
            Thread(number, *recorder.threads.get(number, (0, ""))),
            _socket(tracked, process),
            METHODS[method][0],
            Site(*recorder.places[site]) if site in recorder.places else None,
        )
        for number, (tracked, method, since, site) in list(recorder.waiting.items())
    ]
    return sorted(waits, key=lambda wait: wait.begin)


def _socket(tracked: Tracked | None, process: Process) -> Socket | None:
    """The socket as a trace would show it; None for a call without one, such as getaddrinfo."""
    sock = next(objects(tracked), None) if tracked is not None else None
    if tracked is None or sock is None:
        return None
    return Socket(
        f"{process.pid}.{tracked.number}",
        tracked.number,
        process,
        tracked.row.kind.name,
        sock.family,
        sock.type,
        sock.proto,
        sock.fileno(),
        "",
    )
