"""The capturing process: fills a pcapng file from a packet ring.

It is a process of its own, so that it shares no interpreter lock with the traced program.
`sockfsm.wire.capture` starts it, or forks it from the supervisor of `sockfsm run`. The starter makes
the packet socket and its ring, which takes the kernel milliseconds, while this process starts up. The
socket is inherited as descriptor 3; on loopback, descriptor 4 is a UDP socket for probes. Nothing heavy
is imported: even `os` gives way to `posix`.

Two pipes connect it to the starter. The first line on standard input is the ring's size; any further
input, the end of the pipe, or the starter's death ends the capture. Standard output gets one line
`ready ...` or `failed ...`, and at the end one line `summary ...`.
"""

from __future__ import annotations

import _socket
import posix
import select
import time

from sockfsm.wire import blocks
from sockfsm.wire.output import File
from sockfsm.wire.ring import BLOCK_SIZE, RETIRE_MS, RefusedError, Ring, converted, loopback
from sockfsm.wire.thinner import Thinner

# Writing competes with the traced program for the processors, so during a rush packets are only
# copied into memory and written when it is over.
RUSH = 1 << 15  # bytes in one fetch (some 200 packets in 10 ms) that make a rush
QUIET_MS = 20  # ms without packets that end it
BUSY = 256  # blocks (64 MiB) in memory from which on we write, rush or not
BACKLOG = 4096  # blocks (1 GiB) in memory that we never exceed; the ring overflows instead
THINNING = 30  # seconds at the end for which our starter may wait while the file is thinned
# sched(7): a SCHED_BATCH process does not preempt others when it wakes up. The ring has room.
SCHED_OTHER, SCHED_BATCH = 0, 3


class Probe:
    """Datagrams of ours on lo, marked with a token.

    When a probe has been captured, everything that was sent before it has been captured too.
    """

    def __init__(self, socket: _socket.socket) -> None:
        self.token = b"sockfsm probe " + posix.urandom(12).hex().encode()
        self.socket = socket

    def send(self, mark: bytes) -> bytes:
        """Send the token with a mark; returns the bytes to look for."""
        self.socket.sendto(self.token + mark, self.socket.getsockname())
        return self.token + mark


def clock() -> tuple[int, int]:
    """(wall minus monotonic time, the most by which that is wrong), ns; the best of 20 readings."""
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
    """One capture, from its first probe to its summary."""

    def __init__(
        self, path: str, snap: int, ring: Ring, probe: Probe | None, thinner: Thinner
    ) -> None:
        self.ring = ring
        self.thinner = thinner
        self.offset, self.error = clock()
        self.started = time.time_ns()
        self.token = self.end = b""
        self.until = 0.0
        self.backlog: list[bytes] = []
        self.note = ""
        self.probe = probe
        self.ring.start()
        if self.probe:
            self._prove(self.probe)
        # The file is made only now, so that a capture that does not work leaves none behind.
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
        """Return when a probe has arrived in the ring."""
        self.token = probe.token
        try:
            sent = probe.send(b" start")
        except OSError as error:
            raise RefusedError("system", f"no datagram passes the interface: {error}") from None
        deadline = time.monotonic() + 8
        while not self.ring.holds(sent):
            if time.monotonic() > deadline:
                raise RefusedError("system", "a datagram of ours did not appear in the capture")
            time.sleep(0.0002)

    def fetch(self) -> int:
        """Empty the ring into memory; returns how many bytes that were."""
        taken = 0
        # Blocks go back to the kernel at once. While they wait in memory the ring can fill again.
        while len(self.backlog) < BACKLOG and (block := self.ring.take()) is not None:
            self.backlog.append(block)
            taken += len(block)
        return taken

    def step(self) -> bool:
        """Empty the ring and write the oldest block. True if that block held the last probe."""
        if not self.fetch() and not self.backlog:
            return False
        block = self.backlog.pop(0)
        data, number = converted(block, self.token)
        if number:
            self._store(data, number)
        if not self.end:
            self.token = b""  # the first probe is behind us: stop searching every frame for it
        return bool(self.end) and self.end in block

    def _store(self, data: bytes, number: int) -> None:
        file, thinner = self.file, self.thinner
        if self.end and thinner.full and file.size + len(data) > thinner.full:
            # The program has ended, so there is some time to thin the file: drop the oldest, not these.
            left = self.until - time.monotonic()
            if thinner.results < 0 < left:
                thinner.begin(file, self.offset, self.error)
            if thinner.results >= 0 and thinner.ready(left):
                thinner.end(file)
        if thinner.full and file.size + len(data) > thinner.full:
            file.refuse(number, "more at once than --max-size has room for")
        else:
            file.write(data, number)
        if thinner.due(file.size):
            thinner.begin(file, self.offset, self.error)

    def _no_room_yet(self, late: bool) -> bool:
        """Whether to keep packets in memory because the file is full and is being thinned."""
        full = self.thinner.full and self.file.size + BLOCK_SIZE > self.thinner.full
        return bool(full) and self.thinner.results >= 0 and not late

    def run(self, parent: int) -> None:
        """Write until told to stop, or until the process `parent` is gone.

        Packets that a full disk refuses are counted. For what happens in a rush see RUSH.
        """
        waiting = select.poll()
        waiting.register(0, select.POLLIN | select.POLLHUP)
        # The pipe alone is not enough: a forked child of the starter may hold its other end open.
        gone = posix.pidfd_open(parent)
        waiting.register(gone, select.POLLIN)
        packets = self.ring.socket.fileno()
        waiting.register(packets, select.POLLIN | select.POLLERR)
        rush, watched = False, -1
        while True:
            if watched != self.thinner.results:
                if watched >= 0:
                    waiting.unregister(watched)
                watched = self.thinner.results
                if watched >= 0:
                    waiting.register(watched, select.POLLIN)
            late = len(self.backlog) > BUSY
            later = (rush and not late) or self._no_room_yet(late)
            patience = (QUIET_MS if later else 0) if self.backlog else None
            ready = dict(waiting.poll(patience))
            if 0 in ready or gone in ready:
                break
            # Reading the error clears it. Otherwise poll would return at once for ever.
            if ready.get(packets, 0) & select.POLLERR:
                code = self.ring.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                self.note = f"the interface failed while capturing (error {code})"
            rush = packets in ready and self.fetch() > RUSH
            if not (rush and not late) and not self._no_room_yet(late):
                self.step()
            if watched in ready:
                self.thinner.end(self.file)
        self._finish()
        self.thinner.stop()
        self._close()

    def _finish(self) -> None:
        """Write everything that was sent before a last probe of ours."""
        if self.probe:
            self.token = self.probe.token
            try:
                self.end = self.probe.send(b" end")
                self.until = time.monotonic() + THINNING
            except OSError as error:
                self.note = f"the end of the capture is not proved: {error}"
        # Without a probe (no loopback) wait until the kernel has handed over a half-full block.
        quiet = time.monotonic() + (5 if self.end else RETIRE_MS * 3 / 1000)
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
        lost = self.ring.dropped + self.file.lost
        received = self.file.packets + self.thinner.left + self.thinner.old + lost
        comment = (
            f"{self.ring.dropped} packets dropped by the kernel, {self.file.lost} not written, "
            f"clock error {self.error} ns"
        )
        now = time.time_ns()
        self.file.write(blocks.statistics(0, self.started, now, received, lost, comment))
        posix.close(self.file.descriptor)

    def summary(self) -> str:
        file, thinner = self.file, self.thinner
        problem = self.note
        if file.lost:
            since = time.strftime("%H:%M:%S", time.localtime(file.since))
            problem = f"{file.lost} not written, from {since} on: {file.error}"
        numbers = (file.packets, self.ring.dropped, self.offset, self.error)
        more = (file.lost, thinner.left, thinner.old)
        return f"summary {' '.join(map(str, numbers + more))} {problem}"


def say(line: str) -> None:
    """Send one line to the starter. If nobody is there to read it, end."""
    try:
        posix.write(1, line.replace("\n", " ").encode() + b"\n")
    except BrokenPipeError:
        posix._exit(1)


def main(arguments: list[str]) -> None:
    """Capture until told to stop. Arguments: PATH SNAP PARENT LIMIT KEEPER, see `Capture.start`."""
    path, snap, parent, limit, keeper = arguments
    packets = _socket.socket(fileno=3)
    probe = Probe(_socket.socket(fileno=4)) if loopback(packets) else None
    posix.closerange(5 if probe else 4, 1 << 16)
    if posix.sched_getscheduler(0) == SCHED_OTHER:
        posix.sched_setscheduler(0, SCHED_BATCH, posix.sched_param(0))
    # A direct child would show up in the traced program's wait(). The starter reaps this first
    # process; the second one is a child of init.
    if posix.fork():
        posix._exit(0)
    try:
        size = int(posix.read(0, 32) or posix._exit(1))
        thinner = Thinner(path, int(limit), keeper)
        capturing = Capturing(path, int(snap), Ring(packets, size), probe, thinner)
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
