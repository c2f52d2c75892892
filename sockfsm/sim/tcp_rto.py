"""How long TCP waits for an acknowledgement: RFC 6298; Linux adds 200 ms to a round trip at least."""

from __future__ import annotations

MS = 1_000_000
FIRST, LEAST, MOST = 1000 * MS, 200 * MS, 120_000 * MS
_UNKNOWN = 3000 * MS


class Timeout:
    """value: ns. tries: how often in a row nothing was acknowledged in time."""

    __slots__ = ("_smooth", "_timed", "_varies", "tries", "value")

    def __init__(self) -> None:
        self.value, self.tries = FIRST, 0
        self._smooth = self._varies = 0
        self._timed: tuple[int, int] | None = None

    def begin(self, end: int, now: int) -> None:
        """Time a segment by its end, unless another one is being timed."""
        if self._timed is None:
            self._timed = (end, now)

    def acknowledged(self, ack: int, now: int) -> None:
        """Something new is acknowledged: perhaps what is being timed (section 2)."""
        self.tries = 0
        if self._timed is None or ack < self._timed[0]:
            if not self._smooth:
                self.value = _UNKNOWN  # the SYN was repeated (5.7)
            return
        trip, self._timed = now - self._timed[1], None
        if self._smooth:
            self._varies = (3 * self._varies + abs(self._smooth - trip)) // 4
            self._smooth = (7 * self._smooth + trip) // 8
        else:
            self._smooth, self._varies = trip, trip // 2
        self.value = min(self._smooth + max(4 * self._varies, LEAST), MOST)

    def back_off(self) -> None:
        """Wait twice as long (5.5); what is repeated tells nothing of a round trip (section 3)."""
        self.value = min(2 * self.value, MOST)
        self._timed = None
