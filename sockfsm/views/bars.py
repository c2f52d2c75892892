"""What each socket is doing at a moment: nothing, a call, a call that blocks."""

from __future__ import annotations

from sockfsm.trace.events import Call, Socket, Wait
from sockfsm.views.glyphs import Glyphs
from sockfsm.views.tally import ENDED
from sockfsm.views.text import Paint


class Bars:
    """Told of calls in the order of time; asked for a socket's sign at the same time."""

    def __init__(self, glyphs: Glyphs, paint: Paint) -> None:
        self._glyphs = glyphs
        self._wait = paint(glyphs.wait, "yellow")
        self._running: dict[str, dict[tuple[str, int], bool]] = {}
        self._until: dict[str, int] = {}
        self._open: set[str] = set()

    def begin(self, event: Call | Wait) -> None:
        """A call begins that will be told of again when it ends, or that never does."""
        if event.socket is not None:
            waited = isinstance(event, Wait) or event.waited
            self._running.setdefault(event.socket.identity, {})[_lane(event)] = waited

    def end(self, call: Call, *, now: int | None = None) -> None:
        """A call ends; now: where it stands in the ladder, before its end."""
        if call.socket is None:
            return
        identity = call.socket.identity
        running = self._running.get(identity)
        if running is not None:
            running.pop(_lane(call), None)
            if not running:
                del self._running[identity]
        if call.after in ENDED:
            self._open.discard(identity)
            self._until.pop(identity, None)
            return
        self._open.add(identity)
        if now is not None and now < call.end:
            self._until[identity] = call.end

    def sign(self, socket: Socket | None, time: int) -> str:
        """The glyph of a socket's lane; a blank when it is closed, not yet made or not traced."""
        if socket is None:
            return " "
        running = self._running.get(socket.identity)
        if running:
            return self._wait if any(running.values()) else self._glyphs.busy
        if self._until.get(socket.identity, 0) > time:
            return self._glyphs.busy
        return self._glyphs.bar if socket.identity in self._open else " "


def _lane(event: Call | Wait) -> tuple[str, int]:
    log = event.process.log if isinstance(event, Call) else ""
    return log, event.thread.number
