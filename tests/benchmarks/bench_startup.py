"""What it costs to have sockfsm: the import, and a whole traced program, against plain ones.

python tests/benchmarks/bench_startup.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sockfsm.run.supervise import Options, environment

PROGRAM = "import socket; s = socket.socket(); s.close()"


def milliseconds(code: str, env: dict[str, str] | None = None) -> float:
    """A whole interpreter that runs `code`."""
    begin = time.perf_counter_ns()
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    return (time.perf_counter_ns() - begin) / 1e6


def main(rounds: int) -> None:
    """Medians of interleaved runs, and the differences pair by pair."""
    folder = Path(tempfile.mkdtemp())
    env = environment(folder, Options())
    milliseconds(PROGRAM, env)
    took: dict[str, list[float]] = {"socket": [], "sockfsm": [], "plain": [], "traced": []}
    for _ in range(rounds):
        took["socket"].append(milliseconds("import socket"))
        took["sockfsm"].append(milliseconds("import socket, sockfsm"))
        took["plain"].append(milliseconds(PROGRAM))
        took["traced"].append(milliseconds(PROGRAM, env))
    pairs = (("import sockfsm", "sockfsm", "socket"), ("a traced process", "traced", "plain"))
    for title, ours, base in pairs:
        more = statistics.median(a - b for a, b in zip(took[ours], took[base], strict=True))
        plain = statistics.median(took[base])
        print(f"{title}: {more:+.1f} ms on {plain:.1f} ms ({(plain + more) / plain:.2f} x)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
