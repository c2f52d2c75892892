"""A log of several segments, which can be thinned."""

from __future__ import annotations

import socket
from pathlib import Path

import sockfsm
from sockfsm.record.logs import LogFiles, logs_in


def several(folder: Path) -> LogFiles:
    """Trace so many calls into `folder` that its one log has more than three segments."""
    with sockfsm.tracing(folder, max_size="1G"):
        near, far = socket.socketpair()
        for _ in range(80_000):
            near.send(b"x")
            far.recv(1)
        near.close()
        far.close()
    (log,) = logs_in(folder)
    assert len(log.files) > 3
    return log
