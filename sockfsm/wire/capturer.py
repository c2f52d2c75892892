"""The capturing process: fills a pcapng file from a ring, in an interpreter of its own.

So it shares no lock with the traced program. `sockfsm.wire.capture` starts it (`sockfsm run` forks it
from the supervisor), and makes the socket with its ring (which takes the kernel milliseconds) while
this process comes up: it is inherited as descriptor 3, and as 4 a UDP socket for probes where they
can be. Nothing heavy is imported, `posix` stands for `os`.

Two pipes lead to the starter. A line on standard input says how large the ring is; anything more,
the pipe's end, or the starter's death ends the capture. Standard output has one line `ready ...` or
`failed ...`, and at the end one line `summary ...`.
"""

from __future__ import annotations

import _socket
import posix
import select
import time

from sockfsm.wire import blocks
from sockfsm.wire.ring import RETIRE_MS, RefusedError, Ring, converted, loopback

BACKLOG = 4096  # blocks (1 GiB) that may wait in memory to be written
RUSH = 1 << 15  # bytes at once, some 200 packets in 10 ms: taken now, written later
BUSY = 256  # blocks (64 MiB) after which they are written all the same
QUIET_MS = 20  # without packets: the rush is over
SCHED_OTHER, SCHED_BATCH = 0, 3  # sched(7): waking up interrupts nobody; the ring has room


class Probe:
    """Datagrams of ours on lo, known by a token: what was sent before one that came is captured."""

    def __init__(self, socket: _socket.socket) -> None:
        self.token = b"sockfsm probe " + posix.urandom(12).hex().encode()
        self.socket = socket

    def send(self, mark: bytes) -> bytes:
        """Send the token with a mark; returns what to look for."""
        self.socket.sendto(self.token + mark, self.socket.getsockname())
        return self.token + mark


class File:
    """The pcapng file. A write that fails ends it at the last whole block; `error` says why."""

    def __init__(self, path: str) -> None:
        try:
            self.descriptor = posix.open(
                path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o644
            )
        except OSError as error:
            raise RefusedError("file", f"{path}: {error.strerror}") from None
        self.size = 0
        self.error = ""

    def write(self, data: bytes) -> bool:
        if self.error:
            return False
        view, written = memoryview(data), 0
        try:
            while written < len(data):
                written += posix.write(self.descriptor, view[written:])
        except OSError as error:
            self.error = error.strerror or str(error)
            posix.ftruncate(self.descriptor, self.size)
            return False
        self.size += written
        return True


def clock() -> tuple[int, int]:
    """(wall minus monotonic, the most by which that is wrong), ns: the best of some readings."""
    best = (0, 1 << 62)
    for _ in range(20):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        error = (after - before + 1) // 2
        if error < best[1]:
            best = (wall - (before + after) // 2, error)
    return best


class Capturing:
    """One capture from `open` to `summary`."""

    def __init__(self, path: str, snap: int, ring: Ring, probe: Probe | None) -> None:
        self.ring = ring
        self.offset, self.error = clock()
        self.started = time.time_ns()
        self.written = 0
        self.token = self.end = b""
        self.backlog: list[bytes] = []
        self.note = ""
        self.probe = probe
        self.ring.start()
        if self.probe:
            self._prove(self.probe)
        self.file = File(path)
        self._head(ring.interface, snap)

    def _head(self, interface: str, snap: int) -> None:
        kept = f"{snap} bytes of each frame" if snap else "headers without payload"
        comment = (
            f"sockfsm capture of {interface}, {kept}; "
            f"clock: wall = monotonic + {self.offset} ns, error {self.error} ns"
        )
        head = blocks.section(comment) + blocks.interface(self.ring.link, snap or 65535, interface)
        if not self.file.write(head):
            raise RefusedError("file", self.file.error)

    def _prove(self, probe: Probe) -> None:
        """Return once a datagram of ours lies in the ring."""
        self.token = probe.token
        try:
            sent = probe.send(b" start")
        except OSError as error:
            raise RefusedError("system", f"no datagram passes the interface: {error}") from None
        deadline = time.monotonic() + 2
        while not self.ring.holds(sent):
            if time.monotonic() > deadline:
                raise RefusedError("system", "a datagram of ours did not appear in the capture")
            time.sleep(0.0002)

    def fetch(self) -> int:
        """Empty the ring into memory: the bytes taken."""
        taken = 0
        while len(self.backlog) < BACKLOG and (block := self.ring.take()) is not None:
            self.backlog.append(block)
            taken += len(block)
        return taken

    def step(self) -> bool:
        """Empty the ring, write its oldest block; whether the last probe was in that."""
        if not self.fetch() and not self.backlog:
            return False
        block = self.backlog.pop(0)
        data, number = converted(block, self.token)
        if number and self.file.write(data):
            self.written += number
        if not self.end:
            self.token = b""  # our first probe is behind us: no more search
        return bool(self.end) and self.end in block

    def run(self, parent: int) -> None:
        """Write until told to stop, or until the disk is full (then only wait).

        In a rush the packets are only taken into memory and written when it is over, so that the
        program has the processors for itself.
        """
        waiting = select.poll()
        waiting.register(0, select.POLLIN | select.POLLHUP)
        gone = posix.pidfd_open(parent)
        waiting.register(gone, select.POLLIN)
        packets = self.ring.socket.fileno()
        waiting.register(packets, select.POLLIN | select.POLLERR)
        capturing, rush = True, False
        while True:
            late = len(self.backlog) > BUSY
            patience = (QUIET_MS if rush and not late else 0) if self.backlog else None
            ready = dict(waiting.poll(patience))
            if 0 in ready or gone in ready:
                break
            if ready.get(packets, 0) & select.POLLERR:
                code = self.ring.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                self.note = f"the interface failed while capturing (error {code})"
            rush = packets in ready and self.fetch() > RUSH
            if not rush or late:
                self.step()
            if self.file.error and capturing:
                capturing = False
                waiting.unregister(packets)
                self.backlog.clear()
                self._close()
        if capturing:
            self._finish()
            self._close()

    def _finish(self) -> None:
        """Take what the ring still holds: all that was sent before a last probe of ours."""
        if self.probe:
            self.token = self.probe.token
            try:
                self.end = self.probe.send(b" end")
            except OSError as error:
                self.note = f"the end of the capture is not proved: {error}"
        quiet = time.monotonic() + (1 if self.end else RETIRE_MS * 3 / 1000)
        while not self.step():
            if self.backlog:
                continue
            if time.monotonic() > quiet:
                if self.probe and not self.note:
                    self.note = "the end of the capture is not proved: no probe came back"
                break
            time.sleep(0.001)

    def _close(self) -> None:
        self.ring.count_losses()
        self.ring.socket.close()
        offset, error = clock()
        # A step of the wall clock between start and end shows as a changed offset.
        self.error += error + abs(offset - self.offset)
        received = self.written + self.ring.dropped
        comment = f"{self.ring.dropped} packets dropped by the kernel, clock error {self.error} ns"
        now = time.time_ns()
        self.file.write(
            blocks.statistics(0, self.started, now, received, self.ring.dropped, comment)
        )
        posix.close(self.file.descriptor)

    def summary(self) -> str:
        numbers = f"{self.written} {self.ring.dropped} {self.offset} {self.error}"
        return f"summary {numbers} {self.file.error or self.note}"


def say(line: str) -> None:
    """One line to the starter; nobody may be there to read it."""
    try:
        posix.write(1, line.replace("\n", " ").encode() + b"\n")
    except BrokenPipeError:
        posix._exit(1)


def main(arguments: list[str]) -> None:
    """PATH SNAP PARENT, the sockets in descriptors 3 and 4: capture until told to stop."""
    path, snap, parent = arguments
    packets = _socket.socket(fileno=3)
    probe = Probe(_socket.socket(fileno=4)) if loopback(packets) else None
    posix.closerange(5 if probe else 4, 1 << 16)
    if posix.sched_getscheduler(0) == SCHED_OTHER:
        posix.sched_setscheduler(0, SCHED_BATCH, posix.sched_param(0))
    # A child of the traced program would show in its wait(): the starter reaps the first of us.
    if posix.fork():
        posix._exit(0)
    try:
        size = int(posix.read(0, 32) or posix._exit(1))
        capturing = Capturing(path, int(snap), Ring(packets, size), probe)
    except RefusedError as refusal:
        say(f"failed {refusal.cause} {refusal}")
        posix._exit(1)
    except BaseException as error:
        say(f"failed internal {type(error).__name__}: {error}")
        raise
    say(f"ready {capturing.offset} {capturing.error}")
    capturing.run(int(parent))
    say(capturing.summary())
    posix._exit(0)
