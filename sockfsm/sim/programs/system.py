"""Virtual `posix`, `time`, `_random`, `_signal`, `fcntl` and `atexit`.

Files are the real ones. Their descriptors begin at FILES, so that no program takes one for a socket.
"""

from __future__ import annotations

import _random
import fcntl
import os
import posix
import signal
import stat
import time
from collections.abc import Callable
from errno import EBADF
from typing import TYPE_CHECKING, Any

from sockfsm.sim.network import EPOCH
from sockfsm.sim.programs.actor import Gone
from sockfsm.sim.programs.refused import refuse, refusing
from sockfsm.sim.programs.sockets import close, failure
from sockfsm.sim.programs.world import GLANCE, QUICK
from sockfsm.sim.sockets import Request, VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.home import Home

FILES = 512
"""The first descriptor of a program's files."""

_REFUSED = (
    "fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "execv", "execve", "pipe",
    "pipe2", "kill", "killpg", "wait", "wait3", "wait4", "waitpid", "waitid", "openpty", "dup2",
    "setsid", "setuid", "setgid", "chroot", "nice", "abort", "mkfifo", "mknod", "eventfd",
    "pidfd_open", "memfd_create", "timerfd_create", "unshare", "setns",
)  # fmt: skip
_ABSENT = frozenset({"sendfile", "splice", "copy_file_range"})
_CLOCKS = {"CLOCK_REALTIME", "CLOCK_TAI"}


class Exit(Gone):
    """os._exit(): the process has ended."""


def _moved(number: int) -> int:
    """A file's descriptor, where no socket's can be."""
    if number >= FILES:
        return number
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, FILES)
    finally:
        os.close(number)


def _opener(path: Any, flags: int) -> int:
    return _moved(os.open(path, flags, 0o666))


class System:
    """A process's view of its system."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._handlers: dict[int, object] = {}
        self._exits: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = []

    def reset(self) -> None:
        """Another run begins."""
        self._handlers.clear()
        self._exits.clear()

    # posix

    def posix(self) -> dict[str, object]:
        """The names of `posix`."""
        names = {name: value for name, value in vars(posix).items() if name not in _ABSENT}
        for name in _REFUSED:
            if name in names:
                names[name] = refusing(f"os.{name}")
        for name in (
            "read", "write", "close", "dup", "open", "urandom", "getrandom", "getpid", "getppid",
            "unlink", "remove", "stat", "lstat", "fstat", "_exit", "set_blocking", "get_blocking",
            "set_inheritable", "get_inheritable", "times",
        ):  # fmt: skip
            names[name] = getattr(self, name)
        names["register_at_fork"] = lambda **_: None
        names["environ"] = dict(posix.environ)
        return names

    def _descriptor(self, number: object) -> VirtualSocket | None:
        found = self._home.process.descriptors.get(number) if isinstance(number, int) else None
        if isinstance(found, VirtualSocket):
            return found
        if isinstance(number, int) and 2 < number < FILES:
            raise failure(EBADF)
        return None

    def read(self, fd: int, n: int, /) -> bytes:
        """See os.read."""
        sock = self._descriptor(fd)
        if sock is None:
            return b"" if fd == 0 else os.read(fd, n)
        return self._moving(sock, Request("recv", "recv", size=n))  # type: ignore[return-value]

    def write(self, fd: int, data: Any, /) -> int:
        """See os.write."""
        sock = self._descriptor(fd)
        if sock is not None:
            request = Request("send", "send", data=bytes(data))
            return self._moving(sock, request)  # type: ignore[return-value]
        if fd in (1, 2):
            stream = self._home.process.out if fd == 1 else self._home.process.err
            stream.flush()
            return stream.buffer.raw.write(data)  # type: ignore[attr-defined, no-any-return]
        return os.write(fd, data)

    def _moving(self, sock: VirtualSocket, request: Request) -> object:
        from sockfsm.model.errnos import errno_number

        answer = self._home.world.call(sock, request, sock.timeout)
        if answer.outcome not in ("ok", "eof"):
            raise failure(errno_number(answer.outcome))
        return (answer.value or b"") if request.word == "recv" else answer.done

    def close(self, fd: int) -> None:
        """See os.close."""
        if fd in self._home.process.descriptors:
            close(self._home.process, fd)
        elif fd >= FILES:
            os.close(fd)
        else:
            raise failure(EBADF)

    def dup(self, fd: int, /) -> int:
        """See os.dup."""
        sock = self._descriptor(fd)
        if sock is None:
            return _moved(os.dup(fd))
        sock.holders += 1
        return self._home.process.open(sock)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """See os.open."""
        _is_chance(path)
        return _moved(os.open(path, flags, mode, dir_fd=dir_fd))

    def urandom(self, size: int, /) -> bytes:
        """See os.urandom: the seed's."""
        return self._home.world.random.getrandbits(8 * size).to_bytes(size, "big") if size else b""

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        """See os.getrandom."""
        return self.urandom(size)

    def getpid(self) -> int:
        """See os.getpid."""
        return self._home.process.event.pid

    def getppid(self) -> int:
        """See os.getppid."""
        return 1

    def times(self) -> object:
        """See os.times."""
        return os.times_result((0.0, 0.0, 0.0, 0.0, self._home.world.clock.now / 1e9))

    def _held(self, path: Any) -> str | None:
        """The path, where a simulated socket is bound to it."""
        if isinstance(path, int):
            return None
        name = os.fsdecode(path)
        return name if name in self._home.world.kernel.names.paths else None

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        """See os.unlink."""
        name = self._held(path)
        if name is None:
            os.unlink(path, dir_fd=dir_fd)
            return
        self._home.world.point(None, "unlink")
        self._unlinked(name)

    remove = unlink

    def _unlinked(self, name: str) -> None:
        world = self._home.world
        me, begin = world.me(), world.clock.now
        event = self._home.process.event
        held = world.kernel.owner(name)
        kind = held.kind if held is not None else "unix-stream"

        def mine(sock: VirtualSocket) -> bool:
            return sock.event.process is event

        answer = world.kernel.unlink(kind, name, mine)
        end = world.taken(QUICK)
        sock = held if held is not None and mine(held) else None
        request = Request("unlink", "unlink", name)
        world.journal.call(me, sock, request, answer, begin, end, False)

    def stat(
        self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        """See os.stat."""
        if isinstance(path, int):
            return self.fstat(path)
        if self._held(path) is not None:
            return _socket_stat()
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        """See os.lstat."""
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def fstat(self, fd: int) -> os.stat_result:
        """See os.fstat."""
        return os.fstat(fd) if self._descriptor(fd) is None else _socket_stat()

    def _exit(self, status: int) -> None:
        self._home.process.exit(status)
        raise Exit

    def set_blocking(self, fd: int, blocking: bool, /) -> None:
        """See os.set_blocking."""
        sock = self._descriptor(fd)
        if sock is None:
            os.set_blocking(fd, blocking)
        else:
            sock.timeout = None if blocking else 0.0

    def get_blocking(self, fd: int, /) -> bool:
        """See os.get_blocking."""
        sock = self._descriptor(fd)
        return os.get_blocking(fd) if sock is None else sock.timeout is None

    def set_inheritable(self, fd: int, inheritable: int, /) -> None:
        """See os.set_inheritable. There are no children."""
        if self._descriptor(fd) is None:
            os.set_inheritable(fd, bool(inheritable))

    def get_inheritable(self, fd: int, /) -> bool:
        """See os.get_inheritable."""
        return False if self._descriptor(fd) is not None else os.get_inheritable(fd)

    def file(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None, closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> Any:  # fmt: skip
        """See open()."""
        _is_chance(file)
        if isinstance(file, int) and not isinstance(file, bool):
            if self._descriptor(file) is not None:
                refuse("open() of a socket's descriptor")
            opener = None
        elif opener is None:
            opener = _opener
        return open(file, mode, buffering, encoding, errors, newline, closefd, opener)

    # time

    def time(self) -> dict[str, object]:
        """The names of `time`."""
        names = dict(vars(time))
        home = self._home

        def monotonic_ns() -> int:
            world = home.world
            world.me()
            world.spend(GLANCE)
            return world.clock.now

        def time_ns() -> int:
            return monotonic_ns() + EPOCH

        def gettime_ns(clk_id: int) -> int:
            wall = any(getattr(time, name, None) == clk_id for name in _CLOCKS)
            return time_ns() if wall else monotonic_ns()

        def at(convert: Callable[..., Any]) -> Callable[..., Any]:
            return lambda secs=None: convert(time_ns() / 1e9 if secs is None else secs)

        for name, now in (("time", time_ns), ("monotonic", monotonic_ns)):
            names[f"{name}_ns"] = now
            names[name] = lambda now=now: now() / 1e9
        for name in ("perf_counter", "process_time", "thread_time"):
            names[f"{name}_ns"] = monotonic_ns
            names[name] = lambda: monotonic_ns() / 1e9
        for name in ("localtime", "gmtime", "ctime"):
            names[name] = at(getattr(time, name))
        local = names["localtime"]
        names["asctime"] = lambda t=None: time.asctime(local() if t is None else t)
        names["strftime"] = lambda f, t=None: time.strftime(f, local() if t is None else t)
        names["clock_gettime_ns"] = gettime_ns
        names["clock_gettime"] = lambda clk_id: gettime_ns(clk_id) / 1e9
        names["sleep"] = self.sleep
        for name in ("clock_settime", "clock_settime_ns"):
            names[name] = refusing(f"time.{name}")
        return names

    def sleep(self, secs: float, /) -> None:
        """See time.sleep."""
        span = round(float(secs) * 1e9)
        if span < 0:
            raise ValueError("sleep length must be non-negative")
        world = self._home.world
        world.point(None, "sleep")
        if span:
            world.park((), world.clock.now + span)
        else:
            world.spend(GLANCE)

    # random

    def random(self) -> dict[str, object]:
        """The names of `_random`: who gives no seed gets the run's."""
        urandom = self.urandom

        class Random(_random.Random):
            """See _random.Random."""

            def __new__(cls, *_: object, **__: object) -> Random:
                # Without a seed it would be the system's. Random.__init__() gives it one.
                return super().__new__(cls, 0)  # type: ignore[call-arg]

            def __init__(self, x: Any = None) -> None:
                self.seed(x)

            def seed(self, n: Any = None, /) -> None:
                super().seed(int.from_bytes(urandom(32), "big") if n is None else n)

        return {**vars(_random), "Random": Random}

    # Signals

    def signal(self) -> dict[str, object]:
        """The names of `_signal`: handlers are kept; nobody sends signals."""
        names = {name: value for name, value in vars(signal).items() if name.startswith("SIG")}
        names = {name: int(value) for name, value in names.items() if isinstance(value, int)}
        names |= {
            name: getattr(signal, name)
            for name in ("NSIG", "ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
        }
        kept: dict[str, object] = {**names, "SIG_DFL": 0, "SIG_IGN": 1}

        def default_int_handler(signum: int, frame: object, /) -> None:
            raise KeyboardInterrupt

        def getsignal(signum: int, /) -> object:
            return self._handlers.get(
                int(signum), default_int_handler if signum == signal.SIGINT else 0
            )

        def put(signum: int, handler: object, /) -> object:
            before = getsignal(signum)
            self._handlers[int(signum)] = handler
            return before

        kept |= {
            "default_int_handler": default_int_handler, "getsignal": getsignal, "signal": put,
            "set_wakeup_fd": lambda fd, **_: -1, "siginterrupt": lambda *_: None,
            "valid_signals": signal.valid_signals, "strsignal": signal.strsignal,
            "ItimerError": OSError, "struct_siginfo": getattr(signal, "struct_siginfo", None),
        }  # fmt: skip
        for name in (
            "alarm", "setitimer", "getitimer", "pause", "raise_signal", "sigwait", "sigwaitinfo",
            "sigtimedwait", "pthread_kill", "pthread_sigmask", "sigpending", "pidfd_send_signal",
        ):  # fmt: skip
            if hasattr(signal, name):
                kept[name] = refusing(f"signal.{name}")
        return kept

    # fcntl

    def fcntl(self) -> dict[str, object]:
        """The names of `fcntl`."""

        def control(fd: Any, cmd: int, arg: Any = 0) -> Any:
            number = fd if isinstance(fd, int) else fd.fileno()
            sock = self._descriptor(number)
            if sock is None:
                return fcntl.fcntl(number, cmd, arg)
            if cmd == fcntl.F_GETFL:
                return os.O_RDWR | (os.O_NONBLOCK if sock.timeout == 0 else 0)
            if cmd == fcntl.F_SETFL:
                sock.timeout = 0.0 if arg & os.O_NONBLOCK else None
                return 0
            if cmd in (fcntl.F_GETFD, fcntl.F_SETFD):
                return fcntl.FD_CLOEXEC if cmd == fcntl.F_GETFD else 0
            return refuse(f"fcntl.fcntl({cmd})")

        def ioctl(fd: Any, *arguments: Any) -> Any:
            number = fd if isinstance(fd, int) else fd.fileno()
            if self._descriptor(number) is None:
                return fcntl.ioctl(number, *arguments)
            return refuse("fcntl.ioctl")

        return {**vars(fcntl), "fcntl": control, "ioctl": ioctl}

    # atexit

    def atexit(self) -> dict[str, object]:
        """The names of `atexit`."""

        def register(func: Callable[..., object], /, *args: Any, **kwargs: Any) -> object:
            self._exits.append((func, args, kwargs))
            return func

        def unregister(func: Callable[..., object], /) -> None:
            self._exits[:] = [entry for entry in self._exits if entry[0] != func]

        return {
            "register": register, "unregister": unregister, "_clear": self._exits.clear,
            "_run_exitfuncs": self.leave, "_ncallbacks": lambda: len(self._exits),
        }  # fmt: skip

    def leave(self) -> None:
        """Run what atexit has kept, the latest first."""
        while self._exits:
            function, args, kwargs = self._exits.pop()
            try:
                function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - as atexit does
                self._home.process.failed(error)


def _is_chance(path: object) -> None:
    if path in ("/dev/random", "/dev/urandom"):
        refuse(f"open({path!r})")


def _socket_stat() -> os.stat_result:
    return os.stat_result((stat.S_IFSOCK | 0o755, 1, 1, 1, 0, 0, 0, 0, 0, 0))
