"""A virtual `select`: select(), poll() and epoll over the process's descriptors."""

from __future__ import annotations

import os
import select as real
from collections.abc import Callable, Iterable, Sequence
from errno import EBADF, EEXIST, ENOENT, EPERM
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sockfsm.sim.programs import readiness
from sockfsm.sim.programs.refused import refuse
from sockfsm.sim.programs.world import COST
from sockfsm.sim.sockets import VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.home import Home
    from sockfsm.sim.programs.process import Process

_Found = TypeVar("_Found")


def _number(thing: Any) -> int:
    if isinstance(thing, int):
        number = thing
    else:
        try:
            number = thing.fileno()
        except AttributeError:
            raise TypeError("argument must be an int, or have a fileno() method.") from None
    if number < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({number})")
    return number


def _socket(process: Process, thing: Any, call: str) -> VirtualSocket:
    number = _number(thing)
    found = process.descriptors.get(number)
    if isinstance(found, VirtualSocket):
        return found
    if found is None:
        try:
            os.fstat(number)
        except OSError:
            raise OSError(EBADF, os.strerror(EBADF)) from None
    return refuse(f"{call} of something that is no socket")


def _until(
    process: Process, call: str, sockets: Callable[[], Sequence[VirtualSocket]],
    look: Callable[[], _Found], timeout: float | None,
) -> _Found:  # fmt: skip
    """Look, and wait until there is something to see. timeout: seconds, None or negative for ever."""
    world = process.world
    watched = sockets()
    me = world.point(watched, call)
    deadline = None
    if timeout is not None and timeout >= 0:
        deadline = world.clock.now + round(timeout * 1e9)
    found = look()
    while not found and (deadline is None or world.clock.now < deadline):
        watched = sockets()
        me.about = (watched, call)
        if not world.park(watched, deadline):
            return look()
        found = look()
    world.spend(COST)
    return found


class Poll:
    """select.poll()."""

    home: ClassVar[Home]

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = real.POLLIN | real.POLLPRI | real.POLLOUT) -> None:
        """See select.poll."""
        self._wanted[_number(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        """See select.poll."""
        number = _number(fd)
        if number not in self._wanted:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        self._wanted[number] = eventmask

    def unregister(self, fd: Any) -> None:
        """See select.poll."""
        del self._wanted[_number(fd)]

    def _sockets(self) -> list[VirtualSocket]:
        found = (self.home.process.descriptors.get(number) for number in self._wanted)
        return [sock for sock in found if isinstance(sock, VirtualSocket)]

    def _look(self) -> list[tuple[int, int]]:
        process, answer = self.home.process, []
        for number, wanted in self._wanted.items():
            sock = process.descriptors.get(number)
            if not isinstance(sock, VirtualSocket):
                answer.append((number, int(real.POLLNVAL)))
                continue
            seen = readiness.events(process.world.kernel, sock, wanted)
            if seen:
                answer.append((number, seen))
        return answer

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """See select.poll. timeout: milliseconds."""
        seconds = None if timeout is None else timeout / 1e3
        return _until(self.home.process, "poll", self._sockets, self._look, seconds)


class Epoll:
    """select.epoll(): level-triggered, edge-triggered or one shot."""

    home: ClassVar[Home]

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        self._wanted: dict[int, tuple[VirtualSocket, int]] = {}
        self._edges: dict[int, int] = {}
        self._fd = self.home.process.open(self)

    def _open(self) -> None:
        if self._fd == -1:
            raise ValueError("I/O operation on closed epoll object")

    @property
    def closed(self) -> bool:
        """See select.epoll."""
        return self._fd == -1

    def fileno(self) -> int:
        """See select.epoll."""
        self._open()
        return self._fd

    def close(self) -> None:
        """See select.epoll."""
        if self._fd != -1:
            self.home.process.descriptors.get(self._fd)
            if self.home.process.descriptors.get(self._fd) is self:
                self.home.process.take(self._fd)
            self._fd = -1

    def __enter__(self) -> Epoll:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _target(self, fd: Any) -> tuple[int, VirtualSocket]:
        self._open()
        number = _number(fd)
        if number in (0, 1, 2):
            raise PermissionError(EPERM, os.strerror(EPERM))
        return number, _socket(self.home.process, number, "epoll")

    def register(
        self, fd: Any, eventmask: int = real.EPOLLIN | real.EPOLLPRI | real.EPOLLOUT
    ) -> None:
        """See select.epoll."""
        number, sock = self._target(fd)
        known = self._wanted.get(number)
        if known is not None and known[0] is sock:
            raise FileExistsError(EEXIST, os.strerror(EEXIST))
        self._wanted[number] = (sock, eventmask)
        self._edges.pop(number, None)

    def modify(self, fd: Any, eventmask: int) -> None:
        """See select.epoll."""
        number, sock = self._target(fd)
        if number not in self._wanted:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        self._wanted[number] = (sock, eventmask)
        self._edges.pop(number, None)

    def unregister(self, fd: Any) -> None:
        """See select.epoll."""
        self._open()
        number = _number(fd)
        known = self._wanted.pop(number, None)
        self._edges.pop(number, None)
        if number not in self.home.process.descriptors:
            raise OSError(EBADF, os.strerror(EBADF))
        if known is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))

    def _sockets(self) -> list[VirtualSocket]:
        return [sock for sock, _ in self._wanted.values()]

    def _look(self, most: int) -> list[tuple[int, int]]:
        process, answer = self.home.process, []
        for number, (sock, wanted) in list(self._wanted.items()):
            if process.descriptors.get(number) is not sock:
                if not sock.open:  # what is closed is watched no more
                    del self._wanted[number]
                continue
            if not wanted & ~(real.EPOLLET | real.EPOLLONESHOT):
                continue
            seen = readiness.events(process.world.kernel, sock, wanted)
            if wanted & real.EPOLLET:
                before, self._edges[number] = self._edges.get(number, 0), seen
                seen &= ~before
            if not seen:
                continue
            answer.append((number, seen))
            if wanted & real.EPOLLONESHOT:
                self._wanted[number] = (sock, wanted & (real.EPOLLET | real.EPOLLONESHOT))
            if len(answer) == most:
                break
        return answer

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """See select.epoll. timeout: seconds."""
        self._open()
        if maxevents == 0 or maxevents < -1:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        return _until(
            self.home.process, "epoll", self._sockets, lambda: self._look(maxevents), timeout
        )


class Selecting:
    """The functions of a process's `select`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def module(self) -> dict[str, object]:
        """The names of `select`."""
        names = {name: value for name, value in vars(real).items() if name.isupper()}
        space = {"home": self._home, "__module__": "select"}
        poll = type("poll", (Poll,), dict(space))
        names |= {
            "error": OSError, "select": self.select, "poll": poll,
            "epoll": type("epoll", (Epoll,), dict(space)),
        }  # fmt: skip
        return names

    def select(
        self, rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:  # fmt: skip
        """See select.select."""
        process = self._home.process
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be non-negative")
        reads = [(thing, _socket(process, thing, "select.select")) for thing in rlist]
        writes = [(thing, _socket(process, thing, "select.select")) for thing in wlist]
        for thing in xlist:
            _socket(process, thing, "select.select")
        kernel = process.world.kernel
        sockets = [sock for _, sock in (*reads, *writes)]
        answer: tuple[list[Any], list[Any], list[Any]] = [], [], []

        def look() -> bool:
            hup = readiness.IN | readiness.HUP | readiness.ERR
            answer[0][:] = [t for t, s in reads if readiness.events(kernel, s, readiness.IN) & hup]
            answer[1][:] = [
                t
                for t, s in writes
                if readiness.events(kernel, s, readiness.OUT) & (readiness.OUT | readiness.ERR)
            ]
            return bool(answer[0] or answer[1])

        _until(process, "select", lambda: sockets, look, timeout)
        return answer
