"""Keep-alive: an idle end asks whether the other one is still there (RFC 9293, 3.8.4; tcp(7))."""

from __future__ import annotations

from collections.abc import Callable

from sockfsm.sim.clock import Clock, Event

SECOND = 1_000_000_000
IDLE, INTERVAL, TRIES = 7200, 75, 9
"""Linux's defaults: seconds, seconds, and how many unanswered questions end a connection."""


class Keeping:
    """Asks when nothing has come for `idle` ns, and gives up after TRIES questions."""

    def __init__(
        self, clock: Clock, idle: int, ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self._clock, self._ask, self._give_up = clock, ask, give_up
        self._idle = idle
        self._heard = clock.now
        self._tries = 0
        self._event: Event | None = clock.after(idle, self._due, background=False)

    def heard(self) -> None:
        """Something has come."""
        self._heard = self._clock.now
        self._tries = 0

    def end(self) -> None:
        """The connection is over."""
        if self._event is not None:
            self._event.cancelled = True
            self._event = None

    def _due(self) -> None:
        self._event = None
        rest = self._heard + self._idle - self._clock.now
        if rest <= 0:
            if self._tries >= TRIES:
                self._give_up()
                return
            self._tries += 1
            self._ask()
            rest = min(self._idle, INTERVAL * SECOND)
        # While the other end answers, nothing comes of it that anybody waits for.
        self._event = self._clock.after(rest, self._due, background=not self._tries)
