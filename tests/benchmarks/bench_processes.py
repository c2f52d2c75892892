"""Two processes over TCP, both traced, against the same two processes plain.

    python tests/benchmarks/bench_processes.py [ROUNDS] [--strace]

Plain, traced, and traced with a capture beside them take turns; the figure is the median of the
ratios of neighbouring runs. With --strace a fourth one runs the plain pair under strace.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from sockfsm.run.supervise import Options, environment
from sockfsm.wire.capture import Capture

SERVER = """
import socket, sys
what = sys.argv[1]
listening = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listening.getsockname()[1], flush=True)
if what == "connect":
    while True:
        data, _ = listening.accept()
        data.close()
data, _ = listening.accept()
data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if what == "bulk":
    buffer = bytearray(65536)
    while data.recv_into(buffer):
        pass
    sys.exit()
while message := data.recv(64):
    data.sendall(message)
"""
CLIENT = """
import socket, sys, time
what, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if what == "connect":
    for warm in (count // 10, count):
        begin = time.perf_counter()
        for _ in range(warm):
            client = socket.socket()
            client.connect(("127.0.0.1", port))
            client.recv(1)
            client.close()
    print((time.perf_counter() - begin) / count * 1e6)
    sys.exit()
client = socket.create_connection(("127.0.0.1", port))
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
message = b"x" * (65536 if what == "bulk" else 32)
for warm in (count // 10, count):
    begin = time.perf_counter()
    for _ in range(warm):
        client.sendall(message)
        if what == "ping":
            client.recv(64)
print((time.perf_counter() - begin) / count * 1e6)
"""
COUNTS = {"ping": 8_000, "bulk": 20_000, "connect": 2_000}
LIMITS = {"ping": 1.30, "bulk": 1.02, "connect": 1.25}


def pair(what: str, way: str) -> float:
    """Microseconds for one exchange, block or connection."""
    folder = Path(tempfile.mkdtemp())
    traced = way in ("traced", "captured")
    env = environment(folder, Options()) if traced else dict(os.environ)
    prefix = []
    if way == "strace":
        prefix = ["strace", "-f", "-o", "/dev/null", "-e", "trace=network"]
    capture = Capture.start(folder / "packets.pcapng") if way == "captured" else None
    try:
        with subprocess.Popen(
            [*prefix, sys.executable, "-c", SERVER, what], stdout=subprocess.PIPE, env=env
        ) as server:
            assert server.stdout is not None
            port = server.stdout.readline().decode().strip()
            client = [*prefix, sys.executable, "-c", CLIENT, what, port, str(COUNTS[what])]
            done = subprocess.run(client, env=env, capture_output=True, check=True)
            server.terminate()
        return float(done.stdout)
    finally:
        if capture is not None:
            capture.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main(rounds: int, ways: list[str]) -> None:
    """Print, for each of the three exchanges, the plain time and each way's ratio to it."""
    for what in COUNTS:
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                took[way].append(pair(what, way))
        plain = took["plain"]
        figures = [f"{what:8} plain {statistics.median(plain):7.1f} us"]
        for way in ways[1:]:
            ratios = [t / p for t, p in zip(took[way], plain, strict=True)]
            figures.append(f"{way} {statistics.median(ratios):5.2f} x (best {min(ratios):.2f})")
        print("   ".join(figures), f"  target {LIMITS[what]:.2f} x", flush=True)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    extra = ["strace"] if "--strace" in sys.argv else []
    main(numbers[0] if numbers else 7, ["plain", "traced", "captured", *extra])
