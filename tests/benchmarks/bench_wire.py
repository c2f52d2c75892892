"""What capturing costs and holds, and what reading costs. Ratios within one run; medians.

python tests/benchmarks/bench_wire.py [--quick]
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from sockfsm.wire.capture import Capture
from sockfsm.wire.handshake import inspect_file
from sockfsm.wire.headers import packets
from sockfsm.wire.pcapng import CaptureFile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import flood

QUICK = "--quick" in sys.argv
ROUNDS = 5 if QUICK else 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packets.pcapng"
        ready(path)
        slowdown("TCP ping-pong", ping_pong, path, "target x1.10")
        slowdown("TCP ping-pong, one CPU", pinned(ping_pong), path, "target x1.10")
        slowdown("64 KiB bulk", bulk, path, "target x1.15")
        slowdown("connect, accept, close", connections, path, "")
        burst(path)
        reading(path)


def row(name: str, value: str, target: str = "") -> None:
    print(f"{name:44} {value:>34}  {target}", flush=True)


def ready(path: Path) -> None:
    """Capture.start, both ways, against the start of a bare interpreter, interleaved."""
    bare, stopped = [], []
    started: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        command = [sys.executable, "-I", "-S", "-c", "pass"]
        bare.append(_seconds(partial(subprocess.run, command, check=True)))
        for fork, times in started.items():
            time.sleep(0.1)  # the kernel still clears away the capture before
            begin = time.perf_counter()
            capture = Capture.start(path, fork=fork)
            times.append(time.perf_counter() - begin)
            stopped.append(_seconds(capture.stop))
    least = f"bare interpreter {1000 * statistics.median(bare):.1f}"
    for fork, name in (True, "sockfsm run"), (False, "tracing()"):
        middle, most = 1000 * statistics.median(started[fork]), 1000 * max(started[fork])
        text = f"{middle:.1f} ms (at most {most:.1f})"
        row(f"ready, proved by a packet, {name}", text, f"target 25; {least}")
    row("stop, all packets in the file", f"{1000 * statistics.median(stopped):.1f} ms")


def slowdown(name: str, work: Work, path: Path, target: str) -> None:
    """The same work in three networks, in short turns: without capture, with ours, with tcpdump."""
    captures: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "plain": nullcontext,
        "ours": lambda: Capture.start(path),
    }
    if _which("tcpdump"):
        captures["tcpdump"] = lambda: _Tcpdump(path.with_name("tcpdump.pcap"))
    ratios: dict[str, list[float]] = {which: [] for which in captures}
    for _ in range(2 if QUICK else 6):
        workers = {which: Worker(work, capture) for which, capture in captures.items()}
        for turn in range(20):
            took = {}
            for which in captures if turn % 2 else reversed(captures):
                took[which] = workers[which].turn()
                time.sleep(0.05)  # what is written after a rush is nobody else's
            for which in captures:
                ratios[which].append(took[which] / took["plain"])
        for worker in workers.values():
            worker.end()
    for which in list(captures)[1:]:
        low, middle, high = statistics.quantiles(ratios[which], n=4)
        value = f"x{middle:.3f} ({low:.2f} to {high:.2f})"
        row(f"{name}, {which}", value, target if which == "ours" else "")


# Prepares (in its own network), and returns what does a turn of the work.
Work = Callable[[], Callable[[], object]]


class Worker:
    """A process in a network of its own, where a capture may run, that works when it is told to."""

    def __init__(self, work: Work, capture: Callable[[], AbstractContextManager[object]]) -> None:
        self.here, there = socket.socketpair()
        self.pid = child(partial(self._run, there, work, capture))
        there.close()
        self.turn()  # the first one makes ready

    @staticmethod
    def _run(
        there: socket.socket, work: Work, capture: Callable[[], AbstractContextManager[object]]
    ) -> None:
        flood.own_network()
        with capture():
            turn = work()
            while there.recv(1) == b"t":
                begin = time.perf_counter()
                turn()
                there.send(str(time.perf_counter() - begin).encode())

    def turn(self) -> float:
        """Seconds for a turn."""
        self.here.send(b"t")
        return float(self.here.recv(64))

    def end(self) -> None:
        self.here.send(b"e")
        os.waitpid(self.pid, 0)
        self.here.close()


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def connected(peer: Callable[[socket.socket], None]) -> socket.socket:
    """A connection to a process that does the peer's part until the connection ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listening.getsockname())

    def serve() -> None:
        client.close()
        peer(listening.accept()[0])

    child(serve)
    listening.close()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ping_pong() -> Callable[[], object]:
    """1,000 round trips of 32 bytes between two processes."""

    def echo(data: socket.socket) -> None:
        while part := data.recv(64):
            data.sendall(part)

    client = connected(echo)

    def turn() -> None:
        for _ in range(1000):
            client.sendall(b"x" * 32)
            client.recv(64)

    return turn


def bulk() -> Callable[[], object]:
    """500 times 64 KiB to another process."""

    def sink(data: socket.socket) -> None:
        buffer = bytearray(1 << 18)
        while data.recv_into(buffer):
            pass

    client, block = connected(sink), bytes(65536)

    def send() -> None:
        for _ in range(500):
            client.sendall(block)

    return send


def connections() -> Callable[[], object]:
    """100 connections, one after the other, both ends in one process."""
    listening = socket.create_server(("127.0.0.1", 0))

    def turn() -> None:
        for _ in range(100):
            client = socket.create_connection(listening.getsockname())
            listening.accept()[0].close()
            client.close()

    return turn


def pinned(work: Work) -> Work:
    """The same with all its processes on one CPU (the captures have both)."""

    def prepare() -> Callable[[], object]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return work()

    return prepare


def burst(path: Path) -> None:
    """Numbered datagrams for a second: as fast as they go, and at the target's rate."""
    pid = os.fork()
    if pid == 0:
        try:
            flood.own_network()
            for rate in (None, 500_000):
                _bursts(path, rate)
            _together(path)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(pid, 0)


def _bursts(path: Path, rate: int | None) -> None:
    """Ours, then tcpdump, then ours ...: what was sent, and what became of it."""
    results: dict[str, list[tuple[int, float, list[int], int]]] = {"ours": [], "tcpdump": []}
    for _ in range(2 if QUICK else 5):
        with Capture.start(path) as capture:
            sent, speed = _flood(rate)
            lost = capture.stop().dropped
        results["ours"].append((sent, speed, flood.numbers(path), lost))
        if _which("tcpdump"):
            other = path.with_name("tcpdump.pcap")
            with _Tcpdump(other) as tcpdump:
                sent, speed = _flood(rate)
            results["tcpdump"].append((sent, speed, flood.numbers(other), tcpdump.lost))
    for name, runs in results.items():
        speed = statistics.median(each[1] for each in runs) if runs else 0
        missing = [sent - len(set(numbers)) for sent, _, numbers, _ in runs]
        twice = [len(numbers) - len(set(numbers)) for _, _, numbers, _ in runs]
        text = f"{speed:,.0f}/s, lost {sum(each[3] for each in runs)}"
        text += f", missing {sum(missing)}, twice {sum(twice)}"
        asked = f"{rate:,}/s" if rate else "as fast as it goes"
        row(f"burst of a second, {asked}, {name}", text, f"of {sum(r[0] for r in runs):,} sent")


def _together(path: Path) -> None:
    """Both at once, at the highest rate that tcpdump holds then: the same datagrams."""
    if not _which("tcpdump"):
        return
    other, rate = path.with_name("tcpdump.pcap"), 800_000
    while rate > 10_000:
        with _Tcpdump(other) as tcpdump, Capture.start(path) as capture:
            sent, speed = _flood(rate)
            lost = capture.stop().dropped
        if tcpdump.lost == 0:
            break
        rate = int(rate * 0.8)
    mine, theirs = sorted(flood.numbers(path)), sorted(flood.numbers(other))
    same = "the same" if mine == theirs == list(range(sent)) else "NOT the same"
    text = f"{speed:,.0f}/s, {sent:,} sent: {same}"
    row("ours and tcpdump at once", text, f"ours lost {lost}, tcpdump none")


def _flood(rate: int | None) -> tuple[int, float]:
    """A flood by a process of its own: (datagrams sent, in a second)."""
    command = [sys.executable, flood.__file__, "1", *([str(rate)] if rate else [])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(told[0]), float(told[1])


class _Tcpdump:
    """tcpdump with four times our ring, while a `with` block runs; then `lost` is its count."""

    def __init__(self, path: Path) -> None:
        command = ["tcpdump", "-i", "lo", "-w", str(path), "-B", "65536", "-s", "128", "-Q", "in"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lost = 0

    def __enter__(self) -> _Tcpdump:
        assert self.process.stderr is not None
        assert any("listening on" in line for line in self.process.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1.5)  # it leaves in the ring what came within its last second
        self.process.send_signal(signal.SIGINT)
        told = self.process.communicate()[1]
        (self.lost,) = (
            int(line.split()[0]) for line in told.splitlines() if "dropped by kernel" in line
        )


def _which(name: str) -> str | None:
    from shutil import which

    return which(name)


def reading(path: Path) -> None:
    """A capture of 10,000 connections: each stage, and tshark on the same file."""
    number, rounds = (1_000, 3) if QUICK else (10_000, 3)
    size = synthesize(path, number)
    stages: dict[str, Callable[[], object]] = {
        "read": lambda: deque(CaptureFile(path), maxlen=0),
        "read and decode": lambda: deque(packets(path), maxlen=0),
        "read and explain all connections": lambda: inspect_file(path),
    }
    for name, stage in stages.items():
        took = statistics.median(_seconds(stage) for _ in range(rounds))
        row(f"{name}, {size:,} packets", f"{took / size * 1e6:.2f} us a packet")
    if _which("tshark"):
        for form, connections in ("IPv4", number), ("IPv6", number // 5), ("cooked", number // 5):
            _beside_tshark(path, connections, form)


def _beside_tshark(path: Path, number: int, form: str) -> None:
    """`sockfsm handshake` and tshark on the same file, in turns."""
    size = synthesize(path, number, form)
    handshake = [sys.executable, "-m", "sockfsm", "handshake", str(path)]
    tshark = ["tshark", "-n", "-q", "-z", "conv,tcp", "-r", str(path)]
    pairs = [(_run(handshake), _run(tshark)) for _ in range(3)]
    ratio = statistics.median(mine[0] / other[0] for mine, other in pairs)
    (mine, most), (other, _) = pairs[0]
    text = f"x{ratio:.2f} ({mine:.1f} s, tshark {other:.1f} s), {most:.0f} MB"
    row(f"handshake, {form}, {size:,} packets", text, "target x1 of tshark, 500 MB")


def _seconds(stage: Callable[[], object]) -> float:
    begin = time.perf_counter()
    stage()
    return time.perf_counter() - begin


def _run(command: list[str]) -> tuple[float, float]:
    """(seconds, most memory in MB) of a command."""
    begin = time.perf_counter()
    pid = os.posix_spawn(
        _which(command[0]) or command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)],
    )
    _, status, used = os.wait4(pid, 0)
    assert status == 0, command
    return time.perf_counter() - begin, used.ru_maxrss / 1024


def synthesize(path: Path, number: int, form: str = "IPv4") -> int:
    """Write `number` interleaved connections of 100 packets each; the packets altogether.

    form: IPv4 or IPv6 on ethernet, or IPv4 in Linux's cooked form.
    """
    import struct

    from sockfsm.wire import blocks

    ipv4 = struct.Struct(">BxHxxxxBBxx4s4s")
    ipv6 = struct.Struct(">BxxxHBB16s16s")
    tcp = struct.Struct(">HHIIBBHxxxx")
    link, below = (113, bytes(14)) if form == "cooked" else (1, bytes(12))
    local = bytes(15) + b"\1" if form == "IPv6" else bytes((127, 0, 0, 1))
    seqs = [[connection * 7919, connection * 104729] for connection in range(number)]
    count = 0
    with open(path, "wb") as file:
        file.write(blocks.section("synthetic") + blocks.interface(link, 128, "lo"))

        def send(connection: int, way: int, flags: int, length: int) -> None:
            nonlocal count
            ports = (20_000 + connection, 80)
            mine, other = seqs[connection][way], seqs[connection][1 - way]
            if form == "IPv6":
                frame = below + b"\x86\xdd" + ipv6.pack(0x60, 20 + length, 6, 64, local, local)
            else:
                frame = below + b"\x08\x00" + ipv4.pack(0x45, 40 + length, 64, 6, local, local)
            frame += tcp.pack(
                ports[way], ports[1 - way], mine, other if flags & 16 else 0, 0x50, flags, 500
            )
            wall = 1_700_000_000_000_000_000 + 700 * count
            file.write(blocks.packet(0, wall, frame, len(frame) + length))
            seqs[connection][way] += length + bool(flags & 3)
            count += 1

        story = [(0, 2, 0), (1, 18, 0), (0, 16, 0), *[(0, 24, 100), (1, 24, 100)] * 47]
        story += [(0, 17, 0), (1, 17, 0), (0, 16, 0)]
        for way, flags, length in story:
            for connection in range(number):
                send(connection, way, flags, length)
    return count


if __name__ == "__main__":
    main()
