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
        slowdown("TCP ping-pong", ping_pong, path, 1.10)
        slowdown("TCP ping-pong, one CPU", pinned(ping_pong), path, 1.10)
        slowdown("64 KiB bulk", bulk, path, 1.15)
        slowdown("connect, accept, close", connections, path, None)
        burst(path)
        reading(path)


def row(name: str, value: str, target: str = "") -> None:
    print(f"{name:44} {value:>34}  {target}", flush=True)


def ready(path: Path) -> None:
    """Capture.start against the start of a bare interpreter, interleaved."""
    bare, started, stopped = [], [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        middle = time.perf_counter()
        capture = Capture.start(path)
        end = time.perf_counter()
        capture.stop()
        bare.append(middle - begin)
        started.append(end - middle)
        stopped.append(time.perf_counter() - end)
    took, least = (1000 * statistics.median(times) for times in (started, bare))
    row("ready, proved by a packet", f"{took:.1f} ms", f"target 25; bare interpreter {least:.1f}")
    row("stop, all packets in the file", f"{1000 * statistics.median(stopped):.1f} ms")


def slowdown(name: str, work: Callable[[], float], path: Path, target: float | None) -> None:
    """Pairs of runs, with and without a capture, in turns."""
    ratios, dropped = [], 0
    work()
    for number in range(ROUNDS):
        times = {}
        for capturing in (True, False) if number % 2 else (False, True):
            if capturing:
                with Capture.start(path) as capture:
                    times[True] = work()
                    dropped += capture.stop().dropped
            else:
                times[False] = work()
        ratios.append(times[True] / times[False])
    middle, spread = statistics.median(ratios), statistics.quantiles(ratios, n=4)
    value = f"x{middle:.2f} ({spread[0]:.2f} to {spread[2]:.2f}), {dropped} lost"
    row(name, value, f"target x{target}" if target else "")


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def ping_pong() -> float:
    """Seconds for some round trips of 32 bytes between two processes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def echo() -> None:
            data, _ = listening.accept()
            while part := data.recv(64):
                data.sendall(part)

        pid = child(echo)
        with socket.create_connection(listening.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begin = time.perf_counter()
            for _ in range(5_000 if QUICK else 20_000):
                client.sendall(b"x" * 32)
                client.recv(64)
            took = time.perf_counter() - begin
        os.waitpid(pid, 0)
    return took


def bulk() -> float:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def sink() -> None:
            data, _ = listening.accept()
            buffer = bytearray(1 << 18)
            while data.recv_into(buffer):
                pass

        pid = child(sink)
        block = bytes(65536)
        with socket.create_connection(listening.getsockname()) as client:
            begin = time.perf_counter()
            for _ in range(5_000 if QUICK else 30_000):
                client.sendall(block)
        os.waitpid(pid, 0)
    return time.perf_counter() - begin


def connections() -> float:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name = listening.getsockname()
        begin = time.perf_counter()
        for _ in range(500 if QUICK else 2_000):
            client = socket.create_connection(name)
            data, _ = listening.accept()
            data.close()
            client.close()
        return time.perf_counter() - begin


def pinned(work: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            return work()
        finally:
            os.sched_setaffinity(0, before)

    return run


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


def _which(name: str) -> bool:
    from shutil import which

    return which(name) is not None


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
        handshake = [sys.executable, "-m", "sockfsm", "handshake", str(path)]
        tshark = ["tshark", "-n", "-q", "-z", "conv,tcp", "-r", str(path)]
        pairs = [(_run(handshake), _run(tshark)) for _ in range(rounds)]
        ratio = statistics.median(mine / other for mine, other in pairs)
        text = f"x{ratio:.2f} ({pairs[0][0]:.1f} s, tshark {pairs[0][1]:.1f} s)"
        row(f"handshake, {number:,} connections, to tshark", text, "target x1")


def _seconds(stage: Callable[[], object]) -> float:
    begin = time.perf_counter()
    stage()
    return time.perf_counter() - begin


def _run(command: list[str]) -> float:
    return _seconds(
        lambda: subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
        )
    )


def synthesize(path: Path, number: int) -> int:
    """Write `number` interleaved connections of 100 packets each; the packets altogether."""
    import struct

    from sockfsm.wire import blocks

    head = struct.Struct(">12xHBxHxxxxBBxx4s4sHHIIBBHxxxx")
    local = bytes((127, 0, 0, 1))
    seqs = [[connection * 7919, connection * 104729] for connection in range(number)]
    count = 0
    with open(path, "wb") as file:
        file.write(blocks.section("synthetic") + blocks.interface(1, 128, "lo"))

        def send(connection: int, way: int, flags: int, length: int) -> None:
            nonlocal count
            ports = (20_000 + connection, 80)
            mine, other = seqs[connection][way], seqs[connection][1 - way]
            frame = head.pack(
                0x0800, 0x45, 40 + length, 64, 6, local, local, ports[way], ports[1 - way],
                mine, other if flags & 16 else 0, 0x50, flags, 500,
            )  # fmt: skip
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
