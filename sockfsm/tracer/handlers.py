"""Signal handlers of the program run between any two steps of ours, and may raise anything there."""

from __future__ import annotations

from sockfsm.record.writer import programs


def from_handler(error: BaseException) -> bool:
    """Whether a caught error came out of a function that our own did not call."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is not None and programs(error)
