"""What the traced methods share: the log, and the numbers that threads have in it."""

from __future__ import annotations

import _thread
import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sockfsm.record.writer import Log

if TYPE_CHECKING:
    from sockfsm.tracer.rows import Model

log = Log()

threads: dict[int, tuple[int, str]] = {}
"""number -> (thread id of the kernel, name) of the threads that live"""
_thread_numbers = itertools.count(1)
# Of `threading`, frameworks replace all but the table of threads.
_ident, _native = _thread.get_ident, _thread.get_native_id
_active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class _Leaving:
    """Goes with its thread, and takes the thread's name along."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, pop: Callable[[int, None], object] = threads.pop) -> None:
        pop(self.number, None)


class _Me(_thread._local):
    """The current thread: its number in the log, and what it is about to do."""

    def __init__(self) -> None:
        self.number = next(_thread_numbers)
        self.expected: Model | None = None
        """Whose socket the next new object is: `dup` is being called."""
        self.resolved = False
        self.missing: tuple[str, int, int, int] | None = None
        """(path, begin, end, site) of an unlink that found nothing."""
        self.leaving = _Leaving(self.number)
        note_thread(self.number)


def note_thread(number: int) -> None:
    """Write down the current thread under `number`."""
    # current_thread() would register a foreign thread as a dummy, which the program could see.
    known = _active.get(_ident())
    name = known._name if known is not None else ""  # type: ignore[attr-defined]
    threads[number] = _native(), name if type(name) is str else ""
    log.note({"thread": number, "ident": threads[number][0], "name": threads[number][1]})


me = _Me()
