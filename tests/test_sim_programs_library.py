"""The standard library, unmodified, in the simulator; the same run every time; the command."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import (
    ECHO_CLIENT,
    ECHO_SERVER,
    complaints,
    files,
    methods,
    printed,
    programs,
    simulated,
)  # fmt: skip

from sockfsm.cli.main import main
from sockfsm.sim.programs.run import Program, Result, Runner, Setting, simulate
from sockfsm.sim.programs.scheduler import Noted, Replayed, Seeded
from sockfsm.trace.encode import save
from sockfsm.trace.trace import Trace

FETCH = """
    import http.client
    from urllib.request import urlopen
    with urlopen("http://127.0.0.1:8000/page.txt", timeout=30) as answer:
        print(answer.status, answer.read())
    connection = http.client.HTTPConnection("localhost", 8000, timeout=5)
    for _ in range(2):
        connection.request("GET", "/nothing")
        answer = connection.getresponse()
        answer.read()
        print(answer.status, answer.reason)
    connection.close()
"""
ASYNCIO_SERVER = """
    import asyncio
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 9000)
        async with server:
            await server.serve_forever()
    asyncio.run(main())
"""
ASYNCIO_CLIENT = """
    import asyncio
    async def talk(number):
        reader, writer = await asyncio.open_connection("localhost", 9000)
        for _ in range(2):
            writer.write(b"hello %d\\n" % number)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readline(), 5)
            await asyncio.sleep(1)
        writer.close()
        await writer.wait_closed()
        return answer
    async def main():
        loop = asyncio.get_running_loop()
        print(await asyncio.gather(*map(talk, range(3))))
        done, _ = await asyncio.wait([asyncio.create_task(talk(n)) for n in range(5)])
        print(sorted(task.result() for task in done))
        print(await loop.run_in_executor(None, len, "four"))
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 100)
        except asyncio.TimeoutError:
            print("late")
    asyncio.run(main())
"""
MAIL_SERVER = """
    import socketserver
    class Dialogue(socketserver.StreamRequestHandler):
        def say(self, text):
            self.wfile.write(text.encode() + b"\\r\\n")
        def handle(self):
            self.say("220 here")
            lines = map(bytes.rstrip, self.rfile)
            for line in lines:
                word = line[:4].upper()
                if word == b"EHLO":
                    self.say("250 here")
                elif word == b"DATA":
                    self.say("354 go on")
                    print([text for text in iter(lambda: next(lines), b".")][-1])
                    self.say("250 taken")
                elif word == b"QUIT":
                    return self.say("221 bye")
                else:
                    self.say("250 ok")
    with socketserver.TCPServer(("127.0.0.1", 2525), Dialogue) as server:
        server.serve_forever()
"""
MAIL_CLIENT = """
    import smtplib
    with smtplib.SMTP("localhost", 2525) as server:
        print(server.sendmail("a@x", ["b@y"], "Subject: hi\\n\\nhello\\n"))
"""
POOL = """
    import queue, socket, threading
    from concurrent.futures import ThreadPoolExecutor, as_completed
    listening = socket.create_server(("127.0.0.1", 5000))
    seen = queue.Queue()
    def serve():
        while True:
            data, _ = listening.accept()
            with data:
                seen.put(data.recv(10))
                data.sendall(b"ok")
    threading.Thread(target=serve, daemon=True).start()
    def ask(number):
        with socket.create_connection(("127.0.0.1", 5000)) as sock:
            sock.sendall(b"%d" % number)
            return number, sock.recv(10)
    with ThreadPoolExecutor(3) as pool:
        print(list(pool.map(ask, range(4))))
        futures = [pool.submit(ask, number) for number in range(4, 8)]
        print(sorted(future.result() for future in as_completed(futures)))
    print(b" ".join(sorted(seen.get() for _ in range(8))))
"""
UNIX_THREADS = """
    import socket, threading, time
    one, two = socket.socketpair()
    lock = threading.Lock()
    def work(sock, byte):
        for _ in range(3):
            with lock:
                sock.send(byte)
            sock.recv(1)
    threads = [threading.Thread(target=work, args=a, name=n)
               for n, a in (("A", (one, b"a")), ("B", (two, b"b")))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.txt").write_text("text")
    result = simulate([Program.parse("-m http.server"), *programs(FETCH)])
    assert printed(result, "p1.py") == ["200 b'text'", "404 File not found", "404 File not found"]
    assert result.statuses == [("http.server", 0), ("p1.py", 0)]
    assert '[01/Jan/2000 00:00:00] "GET /page.txt HTTP/1.1" 200' in complaints(result)
    assert result.good


@pytest.mark.parametrize("seed", range(5))
def test_asyncio(seed: int) -> None:
    result = simulated(ASYNCIO_SERVER, ASYNCIO_CLIENT, seed=seed)
    assert complaints(result) == ""
    assert printed(result) == [
        "[b'HELLO 0\\n', b'HELLO 1\\n', b'HELLO 2\\n']",
        str([b"HELLO %d\n" % number for number in range(5)]), "4", "late",
    ]  # fmt: skip
    assert result.good


@pytest.mark.parametrize("seed", range(3))
def test_smtp(seed: int) -> None:
    result = simulated(MAIL_SERVER, MAIL_CLIENT, seed=seed)
    assert printed(result) == ["b'hello'", "{}"]
    assert result.good


@pytest.mark.parametrize("seed", range(5))
def test_a_pool_of_threads(seed: int) -> None:
    result = simulated(POOL, seed=seed)
    assert complaints(result) == ""
    assert printed(result) == [
        str([(n, b"ok") for n in range(4)]), str([(n, b"ok") for n in range(4, 8)]),
        str(b" ".join(b"%d" % n for n in range(8))),
    ]  # fmt: skip
    threads = {call.thread.name for call in result.trace.calls()}
    assert "MainThread" in threads
    assert any(name.startswith("ThreadPoolExecutor-0_") for name in threads)


PAIRS = {
    "echo": (ECHO_SERVER, ECHO_CLIENT),
    "asyncio": (ASYNCIO_SERVER, ASYNCIO_CLIENT),
    "mail": (MAIL_SERVER, MAIL_CLIENT),
    "pool": (POOL,),
    "threads": (UNIX_THREADS,),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_seed_the_same_trace(name: str, tmp_path: Path) -> None:
    folders = [
        save(simulated(*PAIRS[name], seed=3).trace, tmp_path / str(turn)) for turn in range(3)
    ]
    first, *others = map(files, map(Path, folders))
    assert all(other == first for other in others)


@pytest.mark.parametrize("name", PAIRS)
def test_modules_that_are_kept_are_as_new(name: str) -> None:
    """Run after run of the same programs is as a first one."""
    runner = Runner(programs(*PAIRS[name]))
    for seed in (4, 5, 4):
        fresh = simulated(*PAIRS[name], seed=seed)
        again = runner.run(Setting(seed=seed))
        assert told(again) == told(fresh)
        assert again.output == fresh.output
        assert again.calls == fresh.calls
        assert (again.time, again.statuses) == (fresh.time, fresh.statuses)


def test_what_a_program_does_to_modules_is_gone_in_the_next_run() -> None:
    runner = Runner(
        programs("""
            import os, queue, random, socket, socketserver, sys, threading, weakref
            print("HERE" in os.environ, hasattr(queue, "mine"), threading.Thread().name)
            print(socket.getdefaulttimeout(), random.random(), "nothing" in sys.modules)
            print(socketserver.TCPServer.request_queue_size, threading.active_count(), len(sys.path))
            os.environ["HERE"] = "yes"
            queue.mine = 1
            sys.path.append("there")
            sys.modules["nothing"] = None
            socket.setdefaulttimeout(3)
            socket.socket = None
            lock = threading.Lock()
            lock.acquire()
            threading.Thread(target=lock.acquire, daemon=True).start()
            threading.Thread = None
            random.seed(5)
            print.__self__ if hasattr(print, "__self__") else None
            import builtins
            builtins.len = None
        """)
    )
    first, second = (runner.run(Setting(seed=1)) for _ in range(2))
    assert first.good
    assert first.output == second.output
    assert printed(first)[0] == "False False Thread-1"


def told(result: Result) -> list[tuple[object, ...]]:
    """A run's calls, as far as they can be compared."""
    return [
        (c.begin, c.end, c.thread.name, c.method, c.outcome, c.done, str(c.site), c.address)
        for c in result.trace.calls()
    ]


def test_a_hundred_times_the_same() -> None:
    runner = Runner(programs(ECHO_SERVER, ECHO_CLIENT))
    first = told(runner.run(Setting(seed=5)))
    assert first
    assert all(told(runner.run(Setting(seed=5))) == first for _ in range(99))


def test_another_seed_is_another_schedule() -> None:
    runner = Runner(programs(UNIX_THREADS))
    orders = {
        tuple((c.thread.name, c.method) for c in runner.run(Setting(seed=n)).trace.calls())
        for n in range(10)
    }
    assert len(orders) > 3


def test_every_python_the_same() -> None:
    """What the schedule is made of does not depend on the library's version."""
    calls = repr(told(simulated(UNIX_THREADS, seed=1)))
    assert hashlib.sha256(calls.encode()).hexdigest()[:16] == "0b2392adfa21a82c"


def test_choices_replay_a_run() -> None:
    noted = Noted(Seeded(9))
    first = simulated(POOL, scheduler=noted)
    assert noted.choices
    again = simulated(POOL, scheduler=Replayed(noted.choices))
    assert methods(again) == methods(first)
    assert again.time == first.time


def test_any_hash_seed_the_same(tmp_path: Path) -> None:
    """Of the command, also where a program goes by the order of a set of strings."""
    program = tmp_path / "sets.py"
    program.write_text(
        "import socket\n"
        "for name in {'alpha', 'beta', 'gamma', 'delta'}:\n"
        "    socket.socket().bind(('127.0.0.1', 1000 + len(name)))\n"
    )
    traces = []
    for seed in ("0", "1", "2", "random"):
        command = [sys.executable, "-m", "sockfsm", "simulate", "sets.py", "-o", f"trace-{seed}"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        traces.append(files(tmp_path / f"trace-{seed}"))
    assert all(trace == traces[0] for trace in traces)


def test_sets_of_objects_have_the_order_of_their_making() -> None:
    text = """
        import asyncio, dataclasses, socket, threading
        class Client:
            pass
        class Slots:
            __slots__ = ("number",)
        @dataclasses.dataclass
        class Data:
            number: int
        @dataclasses.dataclass(eq=False)
        class Plain:
            number: int
        @dataclasses.dataclass(unsafe_hash=True)
        class Hashed:
            number: int
        class Protocol(asyncio.Protocol):
            pass
        rubbish, numbers = [object() for _ in range(RUBBISH)], {}
        for make in Client, Slots, Protocol, socket.socket, threading.Thread, lambda: Plain(1):
            made = [make() for _ in range(100)]
            for number, one in enumerate(made):
                numbers[id(one)] = number
            print(hash(tuple(numbers[id(one)] for one in set(made))))
        try:
            {Data(1)}
        except TypeError as error:
            print(error)
        print(len({Hashed(1), Hashed(1)}))
    """
    runs = [printed(simulated(text.replace("RUBBISH", str(n)))) for n in (1, 12_345)]
    assert len(runs[0]) == 8
    assert runs[0] == runs[1]
    assert runs[0][-2:] == ["unhashable type: 'Data'", "1"]


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for program in programs(ECHO_SERVER, ECHO_CLIENT):
        (tmp_path / program.file).write_text(str(program.code))
    assert main(["simulate", "p1.py", "p2.py", "--seed", "7", "-o", "trace"]) == 0
    shown = capsys.readouterr().out
    assert "p2.py | b'HELLO'" in shown
    assert "p1.py:3" in shown
    trace = Trace.open("trace")
    assert trace.problems == []
    assert main(["show", "trace", "--no-pager"]) == 0
    assert main(["handshake", "trace"]) == 0
    assert main(["lint", "trace"]) == 0
    assert main(["simulate", "p2.py"]) == 1
    assert "p2.py:3: p2.py ends by ConnectionRefusedError" in capsys.readouterr().err
    (tmp_path / "two.py").write_text("import socket\nsocket.socket().connect(('p1', 9))\n")
    rules = ["--network", "latency 20ms, loss 10%", "--host", "p1=10.0.0.1", "--together"]
    assert main(["simulate", "p1.py", "two.py", *rules, "--most-calls", "90"]) == 1


BAD = {
    "nothing.py": "nothing.py: No such file or directory",
    "broken.py": "broken.py:2: ",
    "server.py 'a": "No closing quotation",
    "good.py --host nowhere": "is not NAME=ADDRESS",
    "good.py --host a=b": "is not NAME=ADDRESS",
    "good.py --network slow": "the network has latency",
    "good.py --most-calls 0": "a limit is a number above 0",
    "lost-syn echo": "one scenario at a time",
    "": "nothing to run",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text("1\n")
    (tmp_path / "broken.py").write_text("1\n(2\n")
    words = [line] if "'" in line else line.split()
    assert main(["simulate", *words]) == 2
    said = capsys.readouterr().err
    assert BAD[line] in said
    assert said.count("\n") == 1
