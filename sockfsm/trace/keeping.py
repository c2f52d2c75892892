"""What to keep of a capture that still runs, by what the call logs tell so far.

Imported by a copy of the capturing process, when there is something to thin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

from sockfsm.trace.causes import SLACK
from sockfsm.trace.endpoints import Endpoints
from sockfsm.trace.trace import Trace
from sockfsm.wire.headers import Decoder
from sockfsm.wire.pcapng import Frame

GRACE = 5_000_000_000  # ns in which a log tells whose a connection is


def traced(ends: Endpoints, clock: int) -> Callable[[Frame], bool]:
    """Whether a frame is a traced socket's. clock: wall minus monotonic time, ns."""
    decoder = Decoder(clock)
    return lambda frame: ends.has(decoder.decode(frame) or decoder.quoted(frame))


def so_far(folder: str, clock: int, error: int) -> Callable[[Frame], bool]:
    """Whether a frame is a traced socket's, or may turn out to be one.

    The latest ones may, and while a connect() blocks, which tells its ends when it returns, what
    opens a connection.
    """
    now = time.monotonic_ns()
    trace = Trace(Path(folder))
    ends = Endpoints(trace.calls(), max(SLACK, error))
    blocked = [wait for wait in trace.blocked() if wait.method.startswith("connect")]
    since = min(map(attrgetter("begin"), blocked), default=now)
    decoder = Decoder(clock)

    def wanted(frame: Frame) -> bool:
        packet = decoder.decode(frame) or decoder.quoted(frame)
        if packet is None:
            return False
        # Asked for each, also the late ones: a connection is judged where it opens.
        known = ends.has(packet)
        return known or packet.time > now - GRACE or ("S" in packet.flags and packet.time > since)

    return wanted
