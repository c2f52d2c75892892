"""Captures an interface beside a program, in a process of its own (`sockfsm.wire.capturer`).

    capture = Capture.start(Path("trace/packets.pcapng"))   # returns when it is proved to run
    ...
    summary = capture.stop()

Payload is not stored unless you ask for it: a filter has the kernel hand over headers only.
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

# Bounds on waiting for the other process. Stopping includes writing what a burst has left in memory.
_READY_SECONDS = 20.0
_STOP_SECONDS = 60.0
# Creates the package without running its `__init__`, whose imports would cost milliseconds.
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
    """Packets cannot be captured. The message says why, and how to permit it."""


@dataclass(frozen=True)
class CaptureSummary:
    """How a capture went.

    packets: how many are in `path`. dropped: how many the kernel lost, by its own count. clock: wall
    minus monotonic time at the start, ns. clock_error: the most by which a packet's monotonic time is
    wrong, in ns; includes steps of the wall clock. problem: one line, such as a full disk, or ''.
    unwritten: packets that could not be written; `problem` says since when and why. left: packets of
    untraced connections, removed while the capture ran. old: the oldest packets, removed to keep the
    file within its limit.
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
        parts = [f"{self.packets} packets"]
        if self.dropped:
            parts.append(f"{self.dropped} LOST by the kernel")
        if self.unwritten:
            parts.append(f"{self.unwritten} LOST")
        if not (self.dropped or self.unwritten or self.problem):
            parts.append("none lost")
        if self.left:
            parts.append(f"{self.left} of others left out")
        if self.old:
            parts.append(f"the oldest {self.old} left out to stay within --max-size")
        problem = f"; {self.problem}" if self.problem else ""
        return f"{', '.join(parts)}, clock error {self.clock_error} ns{problem}"


class Capture:
    """A running capture. Begin one with `Capture.start`; end it with `stop` or a `with` block."""

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
        """Capture `interface` into `path` (pcapng). Returns once a probe datagram was captured.

        snap: bytes kept of each frame, at least 64, or EVERYTHING; HEADERS keeps the headers and
        nothing of the payload. fork: fork the capturing process instead of starting an interpreter;
        only for a process of ours with a single thread. limit: the most bytes on disk, of which the
        newest stay; 0 for no limit. keeper: `module:function` that says which packets to keep while
        the capture runs (`sockfsm.trace.keeping`); '' keeps all.

        Only a loopback interface is probed. On any other a probe would have to go out into the
        network, so the kernel's word that the socket is bound has to do. CaptureError if capturing is
        not possible.
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
            # Making the ring takes the kernel milliseconds, in which the other process starts.
            size = ring.furnish(sockets, snap)
            _reap(child)
            with suppress(BrokenPipeError):  # it has ended; its reason is read below
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
        """End the capture. Returns when everything sent before this call is in the file.

        A second call returns the same summary. If the capturing process was killed, the summary's
        `problem` says so. CaptureError in a process that did not start the capture.
        """
        if self._summary is None:
            if os.getpid() != self._owner:
                raise CaptureError("the capture belongs to another process: stop it there")
            os.write(self._control, b"s") if self._alive() else None
            line = self._status.next(_STOP_SECONDS) or ("late" if self._alive() else "")
            os.close(self._control)
            self._status.close()
            self._summary = self._read(line)
        return self._summary

    def _alive(self) -> bool:
        """Whether the capturing process still reads its pipe."""
        poll = select.poll()
        poll.register(self._control, 0)
        return not poll.poll(0)

    def _read(self, line: str) -> CaptureSummary:
        word, *fields = line.split(" ", 8)
        if word != "summary":
            became = "did not end in time" if word == "late" else "was killed"
            problem = f"the capturing process {became}, what it had written is kept"
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
    """Reads lines from a pipe, each with a timeout."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.buffer = b""

    def next(self, seconds: float) -> str | None:
        """The next line; None at the end of the pipe, or after `seconds`."""
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
    """Move a descriptor to 64 or above, so that the program gets the numbers it would get untraced."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    finally:
        os.close(descriptor)


def _all_high(descriptors: Sequence[int]) -> list[int]:
    """Move all descriptors up. OSError where the limit forbids it; then all of them are closed."""
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
    """Start the capturing process: (pid of its first process, control pipe, status pipe)."""
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
    """Start an interpreter that has these descriptors as 0, 1, 2, ...; its pid."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _STARTER, package, *arguments],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, d, number) for number, d in enumerate(descriptors)],
        # Outside the terminal's foreground group: Ctrl-C is meant for the traced program.
        setpgroup=0,
        setsigmask=_TERMINAL,
    )


def _fork(arguments: list[str], descriptors: list[int]) -> int:
    """Fork this process and prepare the copy as `_spawn` prepares an interpreter; its pid."""
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
            os._exit(1)  # exit handlers and buffers belong to this process, not to its copy
    return child


def _reap(child: int) -> None:
    """Reap the first process, which ends at once, so that the program never sees a child of ours."""
    # There is none to reap where SIGCHLD is ignored, or the program's own wait() came first.
    with suppress(ChildProcessError):
        os.waitpid(child, 0)


def _explain(cause: str, text: str, interface: str) -> str:
    if cause == "permission":
        return f"no permission to capture packets on {interface}: {_PERMIT}"
    if cause == "file":
        return f"packets cannot be written: {text}"
    return f"packets cannot be captured on {interface}: {text}"
