"""Socket objects that nobody holds any more, until their end is written down.

The callback of a weak reference runs wherever the last reference is dropped. An exception that a signal
handler of the program raises inside it is lost, so no Python code may run there: functions of C keep
the reference and the time.
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


class Grave(ref[_stdlib.socket]):
    """A weak reference that knows which socket object it was."""

    __slots__ = ("clock", "key", "tracked")
    key: int
    tracked: Tracked | None
    clock: ref[_stdlib.socket]


class Graves:
    """The graves of one session's sockets."""

    __slots__ = ("_note_time", "_times", "gone")

    def __init__(self) -> None:
        self.gone: deque[Grave] = deque()
        """The references whose objects are gone, the first gone first."""
        self._times: deque[int] = deque()
        # Each next() appends the time; the reference comes as the default that it never needs.
        self._note_time = partial(next, map(self._times.append, iter(Clocks.monotonic, None)))

    def dig(self, sock: _stdlib.socket, key: int, tracked: Tracked) -> Grave:
        """A reference that gets into `gone` when the object goes."""
        grave = Grave(sock, self.gone.append)
        grave.key, grave.tracked = key, tracked
        grave.clock = ref(sock, self._note_time)
        return grave

    def time_of_next(self) -> int:
        """When the object of the first reference went."""
        try:
            return self._times.popleft()
        except IndexError:
            return Clocks.monotonic()

    def forget(self) -> None:
        """After a fork: what has gone is the parent's to write down."""
        self.gone.clear()
        self._times.clear()
