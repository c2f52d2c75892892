"""What a traced call costs, one thread, UNIX stream pair: added to a plain send or recv.

    python tests/benchmarks/bench_calls.py [ROUNDS]

Baselines of the same run, since machines differ by a factor of three: `pass` wraps the call and does
nothing; `tuple` is the least a log can do (state lookup, two clocks, a tuple appended); `naive` runs a
`transitions` trigger and a `logging` line per call, as a first attempt would.
"""

from __future__ import annotations

import _socket
import logging
import os
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sockfsm
from sockfsm.tracer.rows import Model, compile_kind, step

CALLS = 4_000
Methods = dict[str, Callable[..., Any]]


def passing() -> Methods:
    send, recv = _socket.socket.send, _socket.socket.recv
    return {
        "send": lambda self, data, flags=0: send(self, data, flags),
        "recv": lambda self, size, flags=0: recv(self, size, flags),
    }


def appending() -> Methods:
    send, recv, clock = _socket.socket.send, _socket.socket.recv, time.monotonic_ns
    events: list[tuple[Any, ...]] = []
    row: dict[int, Any] = {}
    row[1] = row[2] = (7, row)
    rows: dict[int, Any] = {}

    def traced_send(self: Any, data: bytes, flags: int = 0) -> int:
        state = rows.setdefault(id(self), row)
        begin = clock()
        done = send(self, data, flags)
        end = clock()
        head, rows[id(self)] = state[1]
        events.append((begin, end, head, done))
        return done

    def traced_recv(self: Any, size: int, flags: int = 0) -> bytes:
        state = rows.setdefault(id(self), row)
        begin = clock()
        data = recv(self, size, flags)
        end = clock()
        head, rows[id(self)] = state[2]
        events.append((begin, end, head, len(data)))
        if len(events) > 100_000:
            events.clear()
        return data

    return {"send": traced_send, "recv": traced_recv}


def naive() -> Methods:
    send, recv = _socket.socket.send, _socket.socket.recv
    machine = sockfsm.machine("unix-stream", fresh=True)
    logger = logging.getLogger("naive")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(open(os.devnull, "w")))  # noqa: SIM115
    model = Model(0, compile_kind("unix-stream").rows["CONNECTED"])

    def traced_send(self: Any, data: bytes, flags: int = 0) -> int:
        done = send(self, data, flags)
        machine.events["send_ok"].trigger(model)
        logger.info("send %d in %s", done, model.state)
        return done

    def traced_recv(self: Any, size: int, flags: int = 0) -> bytes:
        data = recv(self, size, flags)
        machine.events["recv_ok"].trigger(model)
        logger.info("recv %d in %s", len(data), model.state)
        return data

    return {"send": traced_send, "recv": traced_recv}


@contextmanager
def patched(methods: Methods) -> Iterator[None]:
    for name, method in methods.items():
        setattr(socket.socket, name, method)
    try:
        yield
    finally:
        for name in methods:
            delattr(socket.socket, name)


@contextmanager
def traced() -> Iterator[None]:
    folder = tempfile.mkdtemp()
    try:
        with sockfsm.tracing(folder, sinks=()):
            yield
    finally:
        shutil.rmtree(folder)


def per_call(a: socket.socket, b: socket.socket, calls: int = CALLS) -> float:
    """ns for one call, half of them send and half recv."""
    data = b"x" * 32
    begin = time.perf_counter_ns()
    for _ in range(calls // 2):
        a.send(data)
        b.recv(100)
    return (time.perf_counter_ns() - begin) / calls


def added(rounds: int) -> None:
    """The cost of a call under each wrapper, in turn."""
    a, b = socket.socketpair()
    wrappers = {"pass": passing(), "tuple": appending(), "naive": naive()}
    took: dict[str, list[float]] = {name: [] for name in ("plain", *wrappers, "sockfsm")}
    with traced():
        per_call(a, b)
    for _ in range(rounds):
        took["plain"].append(per_call(a, b))
        for name, methods in wrappers.items():
            with patched(methods):
                per_call(a, b, 200)
                took[name].append(per_call(a, b, CALLS if name != "naive" else 400))
        with traced():
            per_call(a, b, 200)
            took["sockfsm"].append(per_call(a, b))
    plain = took["plain"]
    print(f"plain call {statistics.median(plain):,.0f} ns; added per call (median of {rounds}):")
    cost = {
        name: statistics.median(t - p for t, p in zip(times, plain, strict=True))
        for name, times in took.items()
    }
    for name in (*wrappers, "sockfsm"):
        print(f"  {name:8} {cost[name]:8,.0f} ns   {cost[name] / cost['tuple']:6.2f} x tuple")
    a.close()
    b.close()


def transition(rounds: int) -> None:
    """A transition by the compiled rows, against the trigger of `transitions`."""
    kind, machine = compile_kind("tcp"), sockfsm.machine("tcp")
    model, theirs_too = Model(0, kind.rows["CONNECTED"]), Model(0, kind.rows["CONNECTED"])
    trigger = machine.events["send_ok"].trigger
    for _ in range(9):  # until it has met every state that it may be in
        _, model.row = step(model.row, 12, "ok", "blocking")
    ours, theirs = [], []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for _ in range(20_000):
            _head, model.row = model.row[12]  # the hot path's own line
        ours.append((time.perf_counter_ns() - begin) / 20_000)
        begin = time.perf_counter_ns()
        for _ in range(500):
            trigger(theirs_too)
        theirs.append((time.perf_counter_ns() - begin) / 500)
    quick, slow = statistics.median(ours), statistics.median(theirs)
    print(f"transition: {quick:.0f} ns; `transitions` {slow:,.0f} ns; ratio {quick / slow:.4f}")


def flatness(rounds: int) -> None:
    """The cost of a call with few and with many sockets, after few and after many events."""
    few, many, early, late = [], [], [], []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    with traced():
        a, b = socket.socketpair()
        per_call(a, b)
        crowd: list[socket.socket] = []
        for _ in range(rounds):
            few.append(per_call(a, b))
            crowd = [sock for _ in range(1000) for sock in socket.socketpair()]
            per_call(a, b, 400)
            many.append(per_call(a, b))
            for sock in crowd:
                sock.close()
    with traced():
        early += [per_call(a, b) for _ in range(rounds)]
        per_call(a, b, 3_000_000)
        late += [per_call(a, b) for _ in range(rounds)]
    m = statistics.median
    print(f"from 2 to {len(crowd)} sockets: {m(many) / m(few):.3f} x")
    print(f"from 10,000 to 3,000,000 events: {m(late) / m(early):.3f} x")
    a.close()
    b.close()


def size() -> None:
    """Bytes on disk for an event, bytes of model for a socket."""
    folder = tempfile.mkdtemp()
    with sockfsm.tracing(folder, sinks=()) as trace:
        a, b = socket.socketpair()
        per_call(a, b, 100_000)
    on_disk = sum(path.stat().st_size for path in Path(folder).glob("*.calls"))
    begin = time.perf_counter()
    events = sum(1 for _ in trace.calls())
    read = time.perf_counter() - begin
    reading = read / events * 1e6
    print(f"on disk: {on_disk / events:.1f} bytes an event; {reading:.2f} s to read 1,000,000")
    shutil.rmtree(folder)
    with traced():
        initial = compile_kind("other").initial
        models: list[Model | None] = [None] * 1000
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(len(models)):
            models[number] = Model(number + 1000, initial)
        used = (tracemalloc.get_traced_memory()[0] - before) / len(models)
        tracemalloc.stop()
    print(f"model: {used:.0f} bytes a socket")
    a.close()
    b.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    added(count)
    transition(count)
    flatness(count)
    size()
