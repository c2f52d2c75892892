"""A virtual `_thread`: locks and threads that wait in simulated time.

A lock that is free is taken at a point only where the program itself asks for it: those inside the
standard library are details of its version, and no business of a schedule.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sockfsm.sim.programs.actor import Actor
from sockfsm.sim.programs.sites import called, programs
from sockfsm.sim.programs.world import GLANCE, World

if TYPE_CHECKING:
    from sockfsm.sim.programs.home import Home

_LARGEST = _thread.TIMEOUT_MAX


def _deadline(world: World, blocking: bool, timeout: float) -> int | None:
    """When to give up, as threading.Lock.acquire() is told; None for never."""
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0
    if timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    if timeout > _LARGEST:
        raise OverflowError("timeout value is too large")
    return world.clock.now + round(timeout * 1e9)


class Lock:
    """threading.Lock. holder: who has taken it. of: the thread whose end it stands for."""

    __slots__ = ("__weakref__", "holder", "of")
    home: ClassVar[Home]

    def __init__(self) -> None:
        self.holder: Actor | None = None
        self.of: Actor | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """See threading.Lock."""
        return _acquire(self, bool(blocking), timeout, 2)

    def release(self) -> None:
        """See threading.Lock."""
        if self.holder is None:
            raise RuntimeError("release unlocked lock")
        self.holder = None
        self.home.world.wake(self)

    def locked(self) -> bool:
        """See threading.Lock."""
        if programs(sys._getframe(1).f_code.co_filename):
            self.home.world.spend(GLANCE)
        return self.holder is not None

    def __enter__(self) -> bool:
        return _acquire(self, True, -1, 2)

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.holder = None

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked

    def __repr__(self) -> str:
        return f"<{'unlocked' if self.holder is None else 'locked'} _thread.lock object>"


def _acquire(lock: Lock | RLock, blocking: bool, timeout: float, depth: int) -> bool:
    world = lock.home.world
    own = programs(sys._getframe(depth).f_code.co_filename)
    deadline = _deadline(world, blocking, timeout)
    me = world.point(lock, "lock") if own else world.me()
    while lock.holder is not None:
        if deadline == 0:
            if own:
                world.spend(GLANCE)
            return False
        me.about = (lock, "acquire" if own else called() or "acquire")
        if not world.park((lock,), deadline):
            return False
    lock.holder = me
    return True


class RLock:
    """threading.RLock."""

    __slots__ = ("__weakref__", "_count", "holder")
    home: ClassVar[Home]

    def __init__(self) -> None:
        self.holder: Actor | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """See threading.RLock."""
        return self._acquire(bool(blocking), timeout, 3)

    def _acquire(self, blocking: bool, timeout: float, depth: int) -> bool:
        mine = self.holder is self.home.world.me()
        if not mine and not _acquire(self, blocking, timeout, depth):
            return False
        self._count += 1
        return True

    def release(self) -> None:
        """See threading.RLock."""
        if self.holder is None or self.holder is not self.home.world.current:
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self.holder = None
            self.home.world.wake(self)

    def locked(self) -> bool:
        """See threading.RLock."""
        return self.holder is not None

    def __enter__(self) -> bool:
        return self._acquire(True, -1, 3)

    def __exit__(self, *_: object) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self.holder is not None and self.holder is self.home.world.current

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> tuple[int, Actor | None]:
        state = self._count, self.holder
        self._count, self.holder = 0, None
        self.home.world.wake(self)
        return state

    def _acquire_restore(self, state: tuple[int, Actor | None]) -> None:
        _acquire(self, True, -1, 2)
        self._count = state[0]

    def _at_fork_reinit(self) -> None:
        self.holder, self._count = None, 0


class Local:
    """threading.local: names of its own for every thread."""

    __slots__ = ("__dict__", "__weakref__", "_arguments", "_spaces")
    home: ClassVar[Home]

    def __new__(cls, *args: Any, **kwargs: Any) -> Local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        object.__setattr__(self, "_arguments", (args, kwargs))
        space: dict[str, Any] = {}
        object.__setattr__(self, "_spaces", {cls.home.world.current: space})
        return self

    def __getattribute__(self, name: str) -> Any:
        _enter(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        _enter(self)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _enter(self)
        object.__delattr__(self, name)


def _enter(local: Local) -> None:
    """Make the names of a Local those of the running thread."""
    get = object.__getattribute__
    me = type(local).home.world.current
    spaces = get(local, "_spaces")
    space = spaces.get(me)
    if space is None:
        space = spaces[me] = {}
        if me is not None:
            me.ended.append(lambda: spaces.pop(me, None))
        object.__setattr__(local, "__dict__", space)
        args, kwargs = get(local, "_arguments")
        type(local).__init__(local, *args, **kwargs)
    elif get(local, "__dict__") is not space:
        object.__setattr__(local, "__dict__", space)


class Handle:
    """_thread._ThreadHandle, from Python 3.13 on."""

    __slots__ = ("__weakref__", "_done", "actor", "ident")
    home: ClassVar[Home]

    def __init__(self) -> None:
        self.actor: Actor | None = None
        self.ident = 0
        self._done = False

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        world = self.home.world
        me = world.me()
        deadline = None
        if timeout is not None and timeout >= 0:
            deadline = world.clock.now + round(timeout * 1e9)
        while not self._done:
            me.about = (self, "join")
            if not world.park((self,), deadline):
                return

    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._done

    def _set_done(self) -> None:
        self._done = True
        self.home.world.wake(self)


class Threads:
    """The functions of a process's `_thread`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        space = {"home": home, "__slots__": (), "__module__": "_thread"}
        self.lock: type[Lock] = type("lock", (Lock,), dict(space))
        self.rlock: type[RLock] = type("RLock", (RLock,), dict(space))
        self.handle: type[Handle] = type("_ThreadHandle", (Handle,), dict(space))
        self.local: type[Local] = type("_local", (Local,), {**space, "__slots__": ()})
        self._handles: list[Handle] = []

    def module(self) -> dict[str, object]:
        """The names of `_thread`."""
        names: dict[str, object] = {
            "LockType": self.lock, "lock": self.lock, "RLock": self.rlock, "allocate_lock": self.lock,
            "allocate": self.lock, "_ThreadHandle": self.handle, "_local": self.local,
            "error": RuntimeError,
            "TIMEOUT_MAX": _LARGEST, "start_new": self.start_new_thread,
            "exit_thread": self.exit, "_is_main_interpreter": lambda: True,
            "_get_main_thread_ident": lambda: self.home.process.event.pid,
            "daemon_threads_allowed": lambda: True, "get_native_id": self.get_ident,
            "_make_thread_handle": self.make_handle, "_shutdown": self.shutdown,
            "_set_sentinel": self.set_sentinel, "_count": self.count,
        }  # fmt: skip
        for name in (
            "start_new_thread",
            "start_joinable_thread",
            "get_ident",
            "exit",
            "stack_size",
        ):
            names[name] = getattr(self, name)
        names["interrupt_main"] = self.interrupt_main
        return names

    def reset(self) -> None:
        """Another run begins."""
        self._handles.clear()

    def get_ident(self) -> int:
        """See threading.get_ident."""
        actor = self.home.world.current
        return actor.ident if actor is not None else self.home.process.event.pid

    def start_new_thread(
        self, function: Callable[..., object], args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
    ) -> int:  # fmt: skip
        """See _thread.start_new_thread."""
        return self._start(function, tuple(args), dict(kwargs or {})).ident

    def start_joinable_thread(
        self, function: Callable[[], object], handle: Handle | None = None, daemon: bool = True
    ) -> Handle:
        """See _thread.start_joinable_thread."""
        made = self.handle() if handle is None else handle
        made.actor = self._start(function, (), {})
        made.ident = made.actor.ident
        made.actor.ended.append(made._set_done)
        if not daemon:
            self._handles.append(made)
        return made

    def _start(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Actor:
        owner = getattr(function, "__self__", None)
        name = str(getattr(owner, "name", "") or getattr(function, "__name__", "thread"))

        def run() -> None:
            try:
                function(*args, **kwargs)
            except SystemExit:
                pass
            except Exception as error:  # noqa: BLE001 - as _thread does
                self.home.process.failed(error)

        return self.home.process.spawn(run, name)

    def make_handle(self, ident: int) -> Handle:
        """See _thread._make_thread_handle."""
        made = self.handle()
        made.ident = ident
        return made

    def shutdown(self) -> None:
        """Wait for all threads that are no daemons."""
        while self._handles:
            self._handles.pop(0).join()

    def set_sentinel(self) -> Lock:
        """A lock that is released when the running thread ends."""
        lock = self.lock()
        actor = self.home.world.current
        assert actor is not None
        lock.of = actor
        actor.ended.append(lambda: lock.release() if lock.holder is not None else None)
        return lock

    def count(self) -> int:
        """See _thread._count."""
        return len(self.home.process.actors) - 1

    def exit(self) -> None:
        """See _thread.exit."""
        raise SystemExit

    def interrupt_main(self, signum: int = 2) -> None:
        """See _thread.interrupt_main."""
        self.home.process.interrupt()

    def stack_size(self, size: int = 0) -> int:
        """See threading.stack_size. All have the room that they need."""
        return 0
