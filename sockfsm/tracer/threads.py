"""The numbers that threads have in the log, and what each of them is about to do."""

from __future__ import annotations

import _thread
import itertools
import threading
from typing import TYPE_CHECKING

from sockfsm.record.writer import Log

if TYPE_CHECKING:
    from sockfsm.tracer.rows import Model

# Of `threading`, frameworks replace all but the table of threads.
_ident, _native = _thread.get_ident, _thread.get_native_id
_active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class Threads:
    """The threads of one session."""

    __slots__ = ("living", "log", "numbers")

    def __init__(self, log: Log) -> None:
        self.log = log
        self.living: dict[int, tuple[int, str]] = {}
        """number -> (the kernel's thread id, name)"""
        self.numbers = itertools.count(1)

    def note(self, number: int) -> None:
        """Write down the current thread under `number`."""
        # current_thread() would register a foreign thread as a dummy, which the program could see.
        known = _active.get(_ident())
        name = known._name if known is not None else ""  # type: ignore[attr-defined]
        self.add(number, name if type(name) is str else "")

    def add(self, number: int, name: str) -> None:
        """Write down a thread, or what runs like one in the current thread."""
        native = _native()
        self.living[number] = native, name
        self.log.note({"thread": number, "ident": native, "name": name})


class Leaving:
    """Dies with its thread, and then drops the thread's name."""

    __slots__ = ("living", "number")

    def __init__(self, threads: Threads, number: int) -> None:
        self.living, self.number = threads.living, number

    def __del__(self) -> None:
        self.living.pop(self.number, None)


class Me(_thread._local):
    """The current thread: its number in the log, and what it is about to do."""

    def __init__(self, threads: Threads) -> None:
        self.number = next(threads.numbers)
        self.expected: Model | None = None
        """Whose socket the next new object is: `dup` is being called."""
        self.resolved = False
        self.missing: tuple[str, int, int, int] | None = None
        """(path, begin, end, site) of an unlink that found nothing."""
        self.leaving = Leaving(threads, self.number)
        threads.note(self.number)
