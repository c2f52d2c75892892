"""A real trace, its packets joined with its calls: how long, in how much memory, and that it is linear.

    python tests/benchmarks/bench_correlate.py [--quick]

A traced client and server send each other small messages and are captured, once for each size. The
baselines read the same bytes in the same run: the calls' slots with struct, the capture block by block.
"""

from __future__ import annotations

import json
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sockfsm.record.layout import SLOT, STANDARD
from sockfsm.trace.trace import PACKETS, Trace

MESSAGES = 26_000 if "--quick" in sys.argv else 260_000  # times four calls and four packets
ROUNDS = 3
PROGRAM = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
quick = socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1  # a packet more for each message
client = not os.fork()
ends = [
    socket.create_connection(listening.getsockname()) if client else listening.accept()[0]
    for _ in range(4)
]
for end in ends:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for number in range(int(sys.argv[1])):
    end = ends[number & 3]
    end.setsockopt(*quick)
    if client:
        end.sendall(bytes(64))
        end.recv(64)
    else:
        end.recv(64)
        end.sendall(bytes(64))
for end in ends:
    end.close()
if not client:
    os.wait()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "program.py").write_text(PROGRAM)
        small, large = (told(record(folder, n), n) for n in (MESSAGES // 10, MESSAGES))
    events = large["calls"] + large["packets"]
    row("calls", f"{large['calls']:,}")
    row("packets", f"{large['packets']:,}, {large['unknown']:,} without a cause")
    row("all joined, and each wait with what ended it", f"{large['took']:.1f} s", "target 30 s")
    row("peak memory", f"{large['memory']:.0f} MB", "target 1000 MB")
    for name, baseline in (("calls", "struct.iter_unpack"), ("packets", "bare blocks")):
        each = large[f"{name}_took"] / large[name] * 1e6
        ratio = large[f"{name}_took"] / large[f"{name}_bare"]
        row(f"one of the {name}", f"{each:.2f} us", f"x{ratio:.1f} of {baseline}")
    grown = events / (small["calls"] + small["packets"])
    ratio = large["took"] / small["took"] / grown
    row(f"{grown:.1f} times as many events", f"x{ratio:.2f} the time of each", "linear: x1")


def row(name: str, value: str, target: str = "") -> None:
    print(f"{name:48} {value:>30}  {target}", flush=True)


def record(folder: Path, messages: int) -> Path:
    """A trace of so many messages each way."""
    path = folder / str(messages)
    command = [sys.executable, "-m", "sockfsm", "run", "-o", str(path), str(folder / "program.py")]
    subprocess.run([*command, str(messages)], check=True)
    return path


def told(path: Path, messages: int) -> dict[str, float]:
    """What processes of their own measured, the medians of some."""
    found = []
    for _ in range(ROUNDS):
        command = [sys.executable, __file__, "--measure", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
    assert found[0]["calls"] >= 4 * messages
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def measure(path: Path) -> None:
    """Correlate once and print what it took."""
    trace = Trace.open(path)
    bare_calls = seconds(lambda: [slots(log) for log in path.glob("*.calls")])
    bare_packets = seconds(lambda: blocks(path / PACKETS))
    begin = time.perf_counter()
    trace.summary(index=True)
    middle = time.perf_counter()
    packets = unknown = 0
    for packet in trace.packets():
        packets += 1
        if packet.cause is None or packet.cause.who == "unknown":
            unknown += 1
    end = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    calls = sum(1 for _ in trace.calls())
    figures = {
        "calls": calls, "packets": packets, "unknown": unknown, "took": end - begin,
        "calls_took": middle - begin, "packets_took": end - middle, "calls_bare": bare_calls,
        "packets_bare": bare_packets, "memory": memory,
    }  # fmt: skip
    print(json.dumps(figures))


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def slots(log: Path) -> int:
    """Unpack each slot of a call log, nothing more."""
    data = log.read_bytes()
    records = struct.Struct(STANDARD).iter_unpack(data[SLOT : len(data) // SLOT * SLOT])
    return sum(1 for _ in records)


def blocks(path: Path) -> int:
    """Walk from block to block of a pcapng file, nothing more."""
    data, place, count = path.read_bytes(), 0, 0
    order = "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    head = struct.Struct(order + "II").unpack_from
    while place + 8 <= len(data):
        _, length = head(data, place)
        place += max(length, 12)
        count += 1
    return count


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(Path(sys.argv[-1]))
    else:
        main()
