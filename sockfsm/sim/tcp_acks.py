"""When received data are acknowledged: at once, or with what is sent anyway, or by a timer.

RFC 9293, 3.8.6.3, in Linux's form (tcp_input.c): the first data of a connection, and those after a
long pause, are acknowledged at once; who answers within a moment is taken for one side of a dialogue,
whose acknowledgements go with its answers.
"""

from __future__ import annotations

MS = 1_000_000
LEAST = 40 * MS
"""ns that an acknowledgement is held back."""
_MOST_QUICK = 16
_SMALL = 536


class Acknowledging:
    """What one end owes. owed: something has come that no segment has acknowledged yet.

    told: up to where what was received has been acknowledged. pushed: how many small segments have come
    since then. dialogue: acknowledgements wait for answers.
    """

    __slots__ = ("_ato", "_last", "_quick", "dialogue", "owed", "pushed", "segment", "told")

    def __init__(self, mss: int, told: int) -> None:
        self.owed = self.dialogue = False
        self.told = told
        self.pushed = 0
        self.segment = min(mss, _SMALL)
        self._quick = 0
        self._ato = 0
        self._last = 0

    def came(self, now: int, length: int, mss: int, window: int, rto: int) -> None:
        """Data have come in order."""
        self.owed = True
        if length >= self.segment:
            self.segment = min(length, mss)
        else:
            self.pushed += 1
        since, self._last = now - self._last, now
        if not self._ato or since > rto:
            self._quick = max(self._quick, min(max(window // (2 * self.segment), 2), _MOST_QUICK))
            self._ato = self._ato or LEAST
        elif since <= LEAST // 2:
            self._ato = self._ato // 2 + LEAST // 2
        elif since < self._ato:
            self._ato = min(self._ato // 2 + since, rto)

    def at_once(self, received: int) -> bool:
        """Whether what has come is acknowledged now. received: up to where."""
        return received - self.told > self.segment or (self._quick > 0 and not self.dialogue)

    def when_read(self, received: int, empty: bool) -> bool:
        """Whether to acknowledge as the program takes data. empty: it has taken all."""
        if not self.owed:
            return False
        pushed = self.pushed > 1 or (self.pushed == 1 and not self.dialogue)
        return received - self.told > self.segment or (pushed and empty)

    def answered(self, now: int) -> None:
        """Data are sent: an answer, if something has just come."""
        if now - self._last < self._ato:
            self.dialogue = True

    def sent(self, received: int) -> None:
        """A segment that acknowledges has gone."""
        self.owed = False
        self.pushed = 0
        self.told = received
        if self._quick:
            self._quick -= 1

    def late(self) -> None:
        """The timer has run out: there was no answer, so it is no dialogue."""
        self.dialogue = False
        self._ato = LEAST
