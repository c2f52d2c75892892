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


FLOOD = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
int main(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    int target = socket(AF_INET, SOCK_DGRAM, 0), source = socket(AF_INET, SOCK_DGRAM, 0);
    bind(target, (void *)&to, sizeof to);
    getsockname(target, (void *)&to, &size);
    connect(source, (void *)&to, sizeof to);
    char data[32] = {0};
    struct iovec piece = {data, 32};
    struct mmsghdr many[64];
    memset(many, 0, sizeof many);
    for (int i = 0; i < 64; i++) many[i].msg_hdr.msg_iov = &piece, many[i].msg_hdr.msg_iovlen = 1;
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    long sent = 0;
    double past;
    do {
        sent += sendmmsg(source, many, 64, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
        past = now.tv_sec - begin.tv_sec + (now.tv_nsec - begin.tv_nsec) / 1e9;
    } while (past < 1);
    printf("%ld %.0f\\n", sent, sent / past);
}
"""


def burst(path: Path) -> None:
    """32-byte datagrams as fast as they go for a second: ours, then tcpdump, then ours ..."""
    compiler = next((c for c in ("cc", "gcc", "clang") if _which(c)), None)
    if compiler is None:
        row("burst of a second", "no C compiler")
        return
    flood = path.with_name("flood")
    source = path.with_name("flood.c")
    source.write_text(FLOOD)
    subprocess.run([compiler, "-O2", "-o", flood, source], check=True)
    ours: list[tuple[float, int]] = []
    theirs: list[tuple[float, int]] = []
    for _ in range(2 if QUICK else 5):
        with Capture.start(path) as capture:
            rate = _flood(flood)
            ours.append((rate, capture.stop().dropped))
        theirs.append(_tcpdump(flood, path.with_name("tcpdump.pcap")))
    for name, results in (("ours", ours), ("tcpdump", theirs)):
        rates = [rate for rate, _ in results]
        lost = [number for _, number in results]
        text = f"{statistics.median(rates):,.0f}/s, lost {sorted(lost)}"
        row(f"burst of a second, {name}", text, "target 500,000/s, none lost")


def _flood(flood: Path) -> float:
    told = subprocess.run([flood], capture_output=True, text=True, check=True).stdout
    return float(told.split()[1])


def _tcpdump(flood: Path, path: Path) -> tuple[float, int]:
    if not _which("tcpdump"):
        return 0.0, -1
    command = ["tcpdump", "-i", "lo", "-w", str(path), "-B", "16384", "-s", "128"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        while "listening on" not in tcpdump.stderr.readline():
            pass
        rate = _flood(flood)
        tcpdump.send_signal(signal.SIGINT)
        told = tcpdump.communicate()[1]
    lost = [line.split()[0] for line in told.splitlines() if "dropped by kernel" in line]
    return rate, int(lost[0])


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
