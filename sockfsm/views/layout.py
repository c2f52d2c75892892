"""The columns of a ladder: seconds, the left margin, the middle, the right margin."""

from __future__ import annotations

from sockfsm.views.text import Paint, cut

STATE, LABEL = 12, 6
Margin = tuple[str, str]
"""What stands beside the middle: (a socket's label, its state). Each may be ''."""
BLANK = "", ""


class Layout:
    """Lays out rows. zero, last: the first and the latest time that will come, monotonic ns.

    room: the columns of the middle.
    """

    def __init__(self, paint: Paint, zero: int, last: int, columns: int) -> None:
        self._paint = paint
        self._zero = zero
        self._time = max(len(self._seconds(last)) + 1, 9)
        self.room = columns - self._time - 2 * (STATE + LABEL + 3) - 1
        self._lefts: dict[Margin, str] = {BLANK: " " * (STATE + LABEL + 3)}
        self._rights: dict[Margin, str] = {BLANK: ""}

    def head(self, left: str, right: str) -> str:
        """The line that names the columns."""
        middle = f" {left}" + f"{right} ".rjust(self.room - len(left) - 1)
        text = f"{'seconds':>{self._time}} {'state':{STATE}} {'socket':>{LABEL}}  {middle}"
        return self._paint(f"{text}  {'socket':{LABEL}} state", "dim")

    def pause(self, text: str) -> str:
        """A row for a time in which nothing happened."""
        return self._paint(f"{'...':>{self._time}} {text}", "dim")

    def row(
        self,
        time: int | None,
        ends: tuple[Margin, Margin],
        bars: list[str],
        middle: str,
        colour: str,
    ) -> str:
        """One row. ends, bars: (left, right). middle: text of exactly `room` columns."""
        seconds = ("" if time is None else self._seconds(time)).rjust(self._time)
        left, right = ends
        # A trace has few labels and states but many rows, so what stands beside them is kept.
        before = self._lefts.get(left)
        if before is None:
            before = self._lefts[left] = self._left(*left)
        after = self._rights.get(right)
        if after is None:
            after = self._rights[right] = self._right(*right)
        if self._paint.coloured:
            seconds, middle = self._paint(seconds, "dim"), self._paint(middle, colour)
        return f"{seconds}{before}{bars[0]}{middle}{bars[1]}{after}".rstrip()

    def _left(self, label: str, state: str) -> str:
        return f" {self._paint(cut(state, STATE).ljust(STATE), 'green')} {label:>{LABEL}} "

    def _right(self, label: str, state: str) -> str:
        return f" {label:{LABEL}} {self._paint(cut(state, STATE), 'green')}"

    def _seconds(self, time: int) -> str:
        return f"{(time - self._zero) / 1_000_000_000:.6f}"
