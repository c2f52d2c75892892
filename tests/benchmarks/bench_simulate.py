"""What a simulated call costs, against a bare greenlet switch; and what a run costs to start.

python tests/benchmarks/bench_simulate.py [CALLS]

All in CPU seconds, so that a busy machine does not count.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from textwrap import dedent

from greenlet import getcurrent, greenlet

from sockfsm.sim.programs.run import Program, Runner, Setting
from sockfsm.sim.programs.world import Limits

SERVER = """
    import socket
    s = socket.socket({family})
    s.bind({address!r})
    s.listen()
    c, _ = s.accept()
    while d := c.recv(100):
        c.sendall(d)
    c.close(), s.close()
"""
CLIENT = """
    import socket
    c = socket.socket({family})
    c.connect({address!r})
    for _ in range({rounds}):
        c.sendall(b"hello")
        c.recv(100)
    c.close()
"""
KINDS: dict[str, dict[str, object]] = {
    "UNIX": {"family": "socket.AF_UNIX", "address": "/simulated/socket"},
    "TCP": {"family": "socket.AF_INET", "address": ("127.0.0.1", 7000)},
}
SEEDS = 200


def spent(deed: Callable[[], object]) -> float:
    """CPU seconds."""
    begin = time.process_time()
    deed()
    return time.process_time() - begin


def bare(switches: int) -> float:
    """CPU seconds of a switch there and back."""

    def other() -> None:
        while True:
            getcurrent().parent.switch()

    made = greenlet(other)
    made.switch()

    def there_and_back() -> None:
        for _ in range(switches):
            made.switch()

    return spent(there_and_back) / switches


def pair(kind: str, rounds: int) -> Runner:
    """A server and a client."""
    texts = [dedent(text).format(rounds=rounds, **KINDS[kind]) for text in (SERVER, CLIENT)]
    return Runner([Program(name, code=text) for name, text in zip("sc", texts, strict=True)])


def main(calls: int) -> None:
    """Calls a second, schedules a second, and how long a start takes."""
    switch = bare(200_000)
    print(f"a bare switch, there and back: {switch * 1e6:.2f} us")
    for kind in KINDS:
        done = []
        runner = pair(kind, calls // 4)
        setting = Setting(limits=Limits(calls=2 * calls))
        took = spent(lambda: done.append(runner.run(setting)))  # noqa: B023 - called at once
        assert done[0].good
        each = took / done[0].calls
        print(f"{kind}: {1 / each:,.0f} calls/s, a call is {each / switch:.0f} switches")
        runner = pair(kind, 1)
        runner.run(Setting())
        took = spent(lambda: [runner.run(Setting(seed=n)) for n in range(SEEDS)])  # noqa: B023
        print(f"{kind}: {SEEDS / took:,.0f} schedules/s of an echo, client and server")
    empty = "from sockfsm.sim.programs.run import *; simulate([Program('p', code='import socket')])"
    for title, code in (("plain", "import socket"), ("simulated", empty)):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        print(f"a process, {title}: {(time.perf_counter() - begin) * 1e3:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)
