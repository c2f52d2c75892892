"""Capture of an interface beside a program, by a process of its own (`sockfsm.wire.capturer`).

    capture = Capture.start(Path("trace/packets.pcapng"))   # proved to be running
    ...
    summary = capture.stop()

Payload bytes are not stored unless asked for: the kernel gives us the headers alone.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sockfsm.errors import SockfsmError

HEADERS = 0
EVERYTHING = 65535

_READY_SECONDS = 20.0
_STOP_SECONDS = 60.0
# Gives the capturer its package without running ours, whose imports would cost milliseconds.
_STARTER = (
    "import sys; package = type(sys)('sockfsm'); package.__path__ = [sys.argv[1]]; "
    "sys.modules['sockfsm'] = package; from sockfsm.wire.capturer import main; main(sys.argv[2:])"
)
_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
_PERMIT = (
    "run as root, give Python the capability (setcap cap_net_raw+ep), run in a network namespace "
    "of its own (--own-network), or do without packets (--no-capture)"
)


class CaptureError(SockfsmError):
    """Packets cannot be captured: says why, and how to permit it."""


@dataclass(frozen=True)
class CaptureSummary:
    """How a capture went.

    packets: in `path`. dropped: seen by the kernel but lost, by its own count. clock: wall minus
    monotonic time at the start, ns. clock_error: the most by which a packet's monotonic time is
    wrong, ns, steps of the wall clock included. problem: '' or one line, such as a full disk.
    unwritten: captured and not written, `problem` says since when and why. left: strangers' packets
    that were left out already. old: the oldest, that were left out to keep the file small.
    """

    path: Path
    packets: int
    dropped: int
    clock: int
    clock_error: int
    problem: str = ""
    unwritten: int = 0
    left: int = 0
    old: int = 0

    def __str__(self) -> str:
        said = [f"{self.packets} packets"]
        if self.dropped:
            said.append(f"{self.dropped} LOST by the kernel")
        if self.unwritten:
            said.append(f"{self.unwritten} LOST")
        if not (self.dropped or self.unwritten or self.problem):
            said.append("none lost")
        if self.left:
            said.append(f"{self.left} of others left out")
        if self.old:
            said.append(f"the oldest {self.old} left out to stay within --max-size")
        problem = f"; {self.problem}" if self.problem else ""
        return f"{', '.join(said)}, clock error {self.clock_error} ns{problem}"


class Capture:
    """A running capture. Make it with `Capture.start`, end it with `stop` or a `with` block."""

    def __init__(
        self, path: Path, control: int, status: _Lines, clock: int, clock_error: int
    ) -> None:
        self.path = path
        self.clock = clock
        self.clock_error = clock_error
        self._control = control
        self._status = status
        self._owner = os.getpid()
        self._summary: CaptureSummary | None = None

    @classmethod
    def start(
        cls,
        path: Path,
        *,
        interface: str = "lo",
        snap: int = HEADERS,
        fork: bool = False,
        limit: int = 0,
        keeper: str = "",
    ) -> Capture:
        """Capture `interface` into `path` (pcapng); returns when a probe of ours was captured.

        snap: bytes kept of each frame (64 or more, EVERYTHING for all); HEADERS keeps each one's
        headers and nothing of its payload. fork: make the capturing process from this one, which
        is ours and has a single thread, without the start of another interpreter. limit: bytes on
        disk, of which the newest are kept; 0 for none. keeper: `module:function` that tells which
        packets to keep meanwhile (`sockfsm.trace.keeping`); '' keeps all. An interface that is no
        loopback is not probed: there, the kernel's word that the socket is bound has to do. Raises
        CaptureError.
        """
        if not sys.platform.startswith("linux"):
            raise CaptureError("packets can be captured on Linux only: go on with --no-capture")
        if not sys.executable and not fork:
            raise CaptureError("no Python executable known that could capture (sys.executable)")
        if snap != HEADERS and not 64 <= snap <= EVERYTHING:
            raise CaptureError(f"snap length {snap}: give 64 to {EVERYTHING} bytes, or {HEADERS}")
        from sockfsm.wire import ring

        try:
            held = _all_high([s.detach() for s in ring.opened(interface)])
            sockets = [_socket.socket(fileno=number) for number in held]
        except ring.RefusedError as refusal:
            raise CaptureError(_explain(refusal.cause, str(refusal), interface)) from None
        except OSError as error:
            raise CaptureError(f"no descriptors for a capture: {error.strerror}") from None
        try:
            arguments = [os.path.abspath(path), str(snap), str(os.getpid()), str(limit), keeper]
            child, control, status = _begin(_fork if fork else _spawn, arguments, sockets)
            # The other process starts while the kernel makes the ring.
            size = ring.furnish(sockets, snap)
            _reap(child)
            with suppress(BrokenPipeError):  # it ended at once, and has said why
                os.write(control, b"%d\n" % size)
        except ring.RefusedError as refusal:
            os.close(control)
            os.close(status)
            _reap(child)
            raise CaptureError(_explain(refusal.cause, str(refusal), interface)) from None
        finally:
            for each in sockets:
                each.close()
        lines = _Lines(status)
        line = lines.next(_READY_SECONDS) or "failed internal the capturing process ended"
        word, _, rest = line.partition(" ")
        if word != "ready":
            os.close(control)
            lines.close()
            cause, _, text = rest.partition(" ")
            raise CaptureError(_explain(cause, text, interface))
        clock, clock_error = map(int, rest.split())
        return cls(Path(path), control, lines, clock, clock_error)

    def stop(self) -> CaptureSummary:
        """End the capture: returns when everything sent before this call is in the file.

        A second call returns the same summary. Raises CaptureError in a process that did not
        start the capture. A capturing process that was killed is told of in `problem`.
        """
        if self._summary is None:
            if os.getpid() != self._owner:
                raise CaptureError("the capture belongs to another process: stop it there")
            os.write(self._control, b"s") if self._alive() else None
            line = self._status.next(_STOP_SECONDS) or ""
            os.close(self._control)
            self._status.close()
            self._summary = self._read(line)
        return self._summary

    def _alive(self) -> bool:
        """Whether anybody still reads what we tell it."""
        poll = select.poll()
        poll.register(self._control, 0)
        return not poll.poll(0)

    def _read(self, line: str) -> CaptureSummary:
        word, *fields = line.split(" ", 8)
        if word != "summary":
            problem = "the capturing process was killed, what it had written is kept"
            return CaptureSummary(self.path, 0, 0, self.clock, self.clock_error, problem)
        packets, dropped, clock, error, unwritten, left, old = map(int, fields[:7])
        return CaptureSummary(
            self.path, packets, dropped, clock, error, fields[7], unwritten, left, old
        )

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Lines:
    """Lines from a pipe, each within a time."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.buffer = b""

    def next(self, seconds: float) -> str | None:
        """The next line; None at the end of the pipe or when the time is over."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            data = os.read(self.descriptor, 4096)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        os.close(self.descriptor)


def _high(descriptor: int) -> int:
    """The same, out of the way: the program finds the numbers it would find without us."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    finally:
        os.close(descriptor)


def _all_high(descriptors: Sequence[int]) -> list[int]:
    """The same of all, or of none: then they are closed. OSError where so many are not permitted."""
    moved: list[int] = []
    try:
        for number in descriptors:
            moved += [_high(number)]
    except OSError:
        for each in (*moved, *descriptors[len(moved) + 1 :]):
            os.close(each)
        raise
    return moved


def _begin(
    make: Callable[[list[str], list[int]], int],
    arguments: list[str],
    sockets: list[_socket.socket],
) -> tuple[int, int, int]:
    """Start the capturing process: (its first process, where to tell it to stop, its reports)."""
    held: list[int] = []
    try:
        for pair in os.pipe, os.pipe:
            held += _all_high(pair())
        listen, control, status, report = held
        held += _all_high([os.open(os.devnull, os.O_WRONLY)])
        child = make(arguments, [listen, report, held[-1], *(s.fileno() for s in sockets)])
        del held[1:3]
    except OSError as error:
        raise CaptureError(f"the capturing process does not start: {error.strerror}") from None
    finally:
        for each in held:
            os.close(each)
    return child, control, status


def _spawn(arguments: list[str], descriptors: list[int]) -> int:
    """As an interpreter of its own, with these descriptors from 0 on."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _STARTER, package, *arguments],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, d, number) for number, d in enumerate(descriptors)],
        # Out of the terminal's foreground group: Ctrl-C is the traced program's.
        setpgroup=0,
        setsigmask=_TERMINAL,
    )


def _fork(arguments: list[str], descriptors: list[int]) -> int:
    """As a copy of this process, in the same condition."""
    from sockfsm.wire import capturer

    child = os.fork()
    if child == 0:
        try:
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, _TERMINAL)
            capturer.main(arguments)
        finally:
            os._exit(1)  # nothing of what this process would do at its end is for its copy
    return child


def _reap(child: int) -> None:
    """Wait for the first process, which ends at once: the program has no child of ours."""
    # SIGCHLD may be ignored, or the program's own wait() was faster.
    with suppress(ChildProcessError):
        os.waitpid(child, 0)


def _explain(cause: str, text: str, interface: str) -> str:
    if cause == "permission":
        return f"no permission to capture packets on {interface}: {_PERMIT}"
    if cause == "file":
        return f"packets cannot be written: {text}"
    return f"packets cannot be captured on {interface}: {text}"
