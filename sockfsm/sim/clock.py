"""Virtual time: what happens next, in an order that the seed alone decides.

An event of the *background* (a persist probe, the end of TIME_WAIT) keeps nobody's hope alive: when
only such events are left for a while and somebody is still blocked, he is blocked for good.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

START = 1_000_000_000
"""Monotonic ns at which every run begins."""

_GRACE = 200_000_000_000
"""ns of background events alone after which nothing can come any more: probes are minutes apart."""


class Event:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("background", "cancelled", "deed")

    def __init__(self, deed: Callable[[], None], background: bool) -> None:
        self.deed = deed
        self.background = background
        self.cancelled = False


class Clock:
    """The virtual clock and the events that wait for it."""

    def __init__(self) -> None:
        self.now = START
        self.events = 0
        self._heap: list[tuple[int, int, Event]] = []
        self._number = 0
        self._background = False
        self._lively = START

    def at(self, time: int, deed: Callable[[], None], *, background: bool | None = None) -> Event:
        """Have `deed` happen at `time`.

        background: by default as the event that is happening, so that a probe's answer is no more
        than the probe.
        """
        event = Event(deed, self._background if background is None else background)
        self._number += 1
        heapq.heappush(self._heap, (time, self._number, event))
        return event

    def after(
        self, delay: int, deed: Callable[[], None], *, background: bool | None = None
    ) -> Event:
        """Have `deed` happen in `delay` ns."""
        return self.at(self.now + delay, deed, background=background)

    def step(self, until: int | None = None) -> bool:
        """Let the next event happen. False when there is none, or nothing but endless background.

        until: the last time at which anything may happen.
        """
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heapq.heappop(heap)
        if not heap or (until is not None and heap[0][0] > until):
            return False
        time, _, event = heapq.heappop(heap)
        if event.background and time > self._lively + _GRACE:
            return False
        if time > self.now:  # it may be late, see `hasten`
            self.now = time
        self.events += 1
        self._background = event.background
        if not event.background:
            self._lively = self.now
        event.deed()
        self._background = False
        return True

    def pending(self) -> list[tuple[int, int, Event]]:
        """What may happen, the next first: when, a number that tells it apart, and what.

        Empty where nothing is left but endless background.
        """
        heap = self._heap
        heap[:] = sorted(entry for entry in heap if not entry[2].cancelled)
        endless = heap and heap[0][2].background and heap[0][0] > self._lively + _GRACE
        return [] if endless else list(heap)

    def hasten(self, number: int) -> None:
        """Let one of `pending` happen now or, at the earliest, when it is due: others will be late."""
        time, _, event = self._taken(number)
        self.now = max(self.now, time)
        heapq.heappush(self._heap, (0, number, event))
        self.step()

    def cancel(self, number: int) -> None:
        """Let one of `pending` never happen."""
        self._taken(number)

    def _taken(self, number: int) -> tuple[int, int, Event]:
        entry = next(entry for entry in self._heap if entry[1] == number)
        self._heap.remove(entry)
        heapq.heapify(self._heap)
        return entry

    def advance(self, time: int) -> None:
        """Let all happen that is due until `time`, and make it that."""
        heap = self._heap
        while heap and heap[0][0] <= time:
            self.step()
        self.now = self._lively = max(self.now, time)

    def next(self) -> int | None:
        """When the next event is due that is not of the background."""
        return min((t for t, _, e in self._heap if not (e.cancelled or e.background)), default=None)
