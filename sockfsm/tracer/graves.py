"""Socket objects that nobody holds any more, until their end is written down.

The callback of a weak reference runs inside whatever lets the last reference go. What a signal handler
of the program raises there is lost, so nothing of Python's may run in it: functions of C keep the
reference and the time.
"""

from __future__ import annotations

import socket as _stdlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

from sockfsm.record.clocks import Clocks

if TYPE_CHECKING:
    from sockfsm.tracer.rows import Tracked

gone: deque[Grave] = deque()
"""The references whose objects are gone, the first gone first."""
_times: deque[int] = deque()
# Each next() appends the time; it is called with the reference as the default that it never needs.
_note_time = partial(next, map(_times.append, iter(Clocks.monotonic, None)))


class Grave(ref[_stdlib.socket]):
    """A weak reference that knows which socket object it was."""

    __slots__ = ("clock", "key", "tracked")
    key: int
    tracked: Tracked | None
    clock: ref[_stdlib.socket]


def grave_of(sock: _stdlib.socket, key: int, tracked: Tracked) -> Grave:
    """A reference that gets into `gone` when the object goes."""
    grave = Grave(sock, gone.append)
    grave.key, grave.tracked = key, tracked
    grave.clock = ref(sock, _note_time)
    return grave


def time_of_next() -> int:
    """When the object of the first reference went."""
    try:
        return _times.popleft()
    except IndexError:
        return Clocks.monotonic()


def forget() -> None:
    """What has gone belongs to a session that is over, or to the parent process."""
    gone.clear()
    _times.clear()
