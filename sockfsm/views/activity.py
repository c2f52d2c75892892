"""Tracks what each socket is doing: nothing, a call, or a call that blocks."""

from __future__ import annotations

from sockfsm.events import Call, Socket, Wait
from sockfsm.model.stepping import GONE

NOTHING, OPEN, BUSY, WAITING = "", "open", "busy", "waiting"
"""Closed, not yet made or not traced; open and idle; in a call; in a call that blocks."""


class Activity:
    """What each socket is doing now. Report the begins and ends of calls in the order of time."""

    def __init__(self) -> None:
        # Identity -> the callers of its running calls -> whether that call blocks.
        self._running: dict[str, dict[tuple[str, int], bool]] = {}
        # Identity -> end of a call that has one place in the ladder, which is before its end.
        self._until: dict[str, int] = {}
        self._open: set[str] = set()

    def begin(self, event: Call | Wait) -> None:
        """A call begins. `end` must follow for each `Call`; a `Wait` never ends."""
        if event.socket is not None:
            waited = isinstance(event, Wait) or event.waited
            self._running.setdefault(event.socket.identity, {})[_caller(event)] = waited

    def end(self, call: Call, *, now: int) -> None:
        """A call ends. now: its place in the ladder, which may be before its end; monotonic ns."""
        if call.socket is None:
            return
        identity = call.socket.identity
        running = self._running.get(identity)
        if running is not None:
            running.pop(_caller(call), None)
            if not running:
                del self._running[identity]
        if call.after in GONE:
            self._open.discard(identity)
            self._until.pop(identity, None)
            return
        self._open.add(identity)
        # The call goes on after its place in the ladder: later rows must show it.
        if now < call.end:
            self._until[identity] = call.end

    def of(self, socket: Socket | None, time: int) -> str:
        """What a socket is doing at `time`: NOTHING, OPEN, BUSY or WAITING."""
        if socket is None:
            return NOTHING
        running = self._running.get(socket.identity)
        if running:
            return WAITING if any(running.values()) else BUSY
        if self._until.get(socket.identity, 0) > time:
            return BUSY
        return OPEN if socket.identity in self._open else NOTHING


def _caller(event: Call | Wait) -> tuple[str, int]:
    # A wait does not know its log. It never ends, so no call has to match it.
    log = event.process.log if isinstance(event, Call) else ""
    return log, event.thread.number
