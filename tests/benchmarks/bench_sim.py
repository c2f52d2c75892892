"""What a simulated call of a scenario costs, and what starting costs; beside what it stands on.

python tests/benchmarks/bench_sim.py [CALLS]
"""

from __future__ import annotations

import heapq
import socket
import statistics
import subprocess
import sys
import time

from sockfsm.sim.run import Simulation
from sockfsm.sim.scenario import parse

ROUNDS = 5
_ONE = "from sockfsm.sim.run import Simulation; from sockfsm.sim.shipped import load; "
_ONE += "Simulation(load('tcp-echo')).run()"


def dialogue(kind: str, calls: int) -> str:
    """A scenario of two that answer each other, four calls a turn."""
    address = "server.sock" if kind.startswith("unix") else "7000"
    turns = calls // 4
    return "\n    ".join(
        (
            "server:", f"s = socket {kind}", f"s.bind {address}", "s.listen", "mark listening",
            "s.accept -> d", *("d.recv", 'd.send "hello"') * turns,
        )
    ) + "\n    ".join(
        (
            "\nclient:", "after listening", f"c = socket {kind}", f"c.connect {address}",
            *('c.send "hello"', "c.recv") * turns,
        )
    )  # fmt: skip


def simulated(kind: str, calls: int) -> tuple[float, int]:
    """(ns for each simulated call, segments)."""
    simulation = Simulation(parse(dialogue(kind, calls)))
    begin = time.process_time_ns()
    simulation.run()
    took = time.process_time_ns() - begin
    assert simulation.unmet == []
    return took / len(simulation.results), len(simulation.kernel.network.packets)


def real(calls: int) -> float:
    """ns for each call of the same dialogue on real sockets, in one thread."""
    one, other = socket.socketpair()
    begin = time.process_time_ns()
    for _ in range(calls // 4):
        one.send(b"hello")
        other.recv(100)
        other.send(b"hello")
        one.recv(100)
    took = time.process_time_ns() - begin
    one.close()
    other.close()
    return took / calls


def bare(calls: int) -> float:
    """ns for each event that a heap takes and gives back: what any simulation in virtual time does."""
    heap: list[tuple[int, int, object]] = []
    begin = time.process_time_ns()
    for number in range(calls):
        heapq.heappush(heap, (number, number, bare))
        heapq.heappop(heap)
    return (time.process_time_ns() - begin) / calls


def started(code: str) -> float:
    """CPU milliseconds of a whole interpreter that runs `code`."""
    script = f"{code}\nimport time; print(time.process_time_ns())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout) / 1e6


def main(calls: int) -> None:
    """Medians, and ratios to the baselines of the same run."""
    base = statistics.median(bare(calls) for _ in range(ROUNDS))
    system = statistics.median(real(calls) for _ in range(ROUNDS))
    print(f"an event of a bare heap {base:.0f} ns; a call of a real socket {system:.0f} ns")
    for kind in ("unix-stream", "tcp"):
        runs = [simulated(kind, calls) for _ in range(ROUNDS)]
        took, segments = statistics.median(run[0] for run in runs), runs[0][1]
        twice = statistics.median(simulated(kind, 2 * calls)[0] for _ in range(ROUNDS))
        print(
            f"{kind}: {1e9 / took:,.0f} simulated calls/s, {segments} segments for {calls} calls; "
            f"{took / base:.0f} x a bare event, {took / system:.1f} x a real call, "
            f"{twice / took:.2f} x as much a call with twice as many"
        )
    plain = statistics.median(started("pass") for _ in range(ROUNDS))
    whole = statistics.median(started(_ONE) for _ in range(ROUNDS))
    print(f"start and one scenario: {whole - plain:.0f} ms of CPU on Python's own {plain:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
