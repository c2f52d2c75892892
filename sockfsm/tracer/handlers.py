"""Signal handlers of the program run between any two steps of ours, and may raise anything there."""

from __future__ import annotations

from sockfsm.record.writer import programs


def from_handler(error: BaseException) -> bool:
    """Whether a signal handler of the program raised the error, and not what we have called."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is not None and programs(error)


def interrupts(error: BaseException) -> bool:
    """The same, and Ctrl-C, whose handler is no function of Python's."""
    traceback = error.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        return programs(error)
    return not isinstance(error, Exception)
