"""Surroundings in which much happens at once, or elsewhere."""

from __future__ import annotations

import array
import contextlib
import faulthandler
import gc
import importlib
import multiprocessing
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import warnings
from typing import Any

from lives import kind, lives, say, secure, shown, size, tried, udp


def nothing() -> None:
    lives("calm")
    secure("calm")


def signals() -> None:
    # Lists, not sums: a handler may interrupt another between reading a number and writing it.
    sent: list[int] = []
    received: list[int] = []
    pair = socket.socketpair()
    pair[1].setblocking(False)

    def handler(*_: Any) -> None:
        sent.append(pair[0].send(b"h"))
        with contextlib.suppress(BlockingIOError):
            received.append(size(pair[1].recv(99)))
        extra = socket.socketpair()
        extra[0].close()
        extra[1].close()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    one, two = socket.socketpair()
    total = 0
    for _ in range(4000):
        one.send(b"abc")
        total += size(two.recv(3))
    for _ in range(50):
        socket.create_server(("127.0.0.1", 0)).close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    say("total", total)
    say("handlers", sum(sent) == sum(received) > 0)


def interrupted() -> None:
    sys.path.append(os.path.join(os.path.dirname(__file__), "..", ".."))
    from asleep import alarm

    class StopError(Exception):
        pass

    def handler(*_: Any) -> None:
        raise StopError("handler")

    signal.signal(signal.SIGALRM, handler)
    kept, two = socket.socketpair()
    server = socket.create_server(("127.0.0.1", 0))
    full = socket.socketpair()
    full[0].setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            full[0].send(bytes(65536))
    full[0].setblocking(True)
    for name, call in {
        "recv": lambda: two.recv(1),
        "recv_into": lambda: two.recv_into(bytearray(2)),
        "recvmsg": lambda: two.recvmsg(5),
        "accept": server.accept,
        "send": lambda: full[0].send(b"x"),
        "sendall": lambda: full[0].sendall(b"x"),
        "sendmsg": lambda: full[0].sendmsg([b"x"]),
    }.items():
        alarm()
        tried(name, call)
        for each in (two, server, full[0]):
            each.settimeout(500)
        alarm()
        tried(f"{name} with a timeout", call)
        for each in (two, server, full[0]):
            each.settimeout(None)
    kept.close()


def collector() -> None:
    finished = 0

    class Final:
        def __init__(self) -> None:
            self.me, self.pair = self, socket.socketpair()

        def __del__(self) -> None:
            nonlocal finished
            finished += 1
            self.pair[0].send(b"x")
            self.pair[1].recv(1)
            one, two = socket.socketpair()
            one.close()
            two.close()

    warnings.simplefilter("ignore", ResourceWarning)
    gc.set_threshold(1, 1, 1)
    lives("first")
    for _ in range(200):
        Final()
        one, two = socket.socketpair()
        one.send(b"x")
        two.recv(1)
        number = one.detach()
        socket.socket(fileno=number).close()
        two.dup().close()
        two.close()
    gc.set_threshold(700)
    gc.collect()
    say("finished", finished)
    say("garbage", gc.garbage)
    lives("last")


def threads_close() -> None:
    """Threads close each other's sockets: whatever comes of a call, it is an OSError or a result."""
    strange: list[str] = []
    made: list[Any] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(400):
            try:
                what = chance.randrange(6)
                if what == 0 or size(made) < 4:
                    pair = socket.socketpair()
                    for each in pair:
                        each.settimeout(0.0001)
                    made.extend(pair)
                elif what == 1:
                    made.pop(chance.randrange(size(made))).close()
                elif what == 2:
                    chance.choice(made).recv(9)
                elif what == 3:
                    chance.choice(made).send(b"x")
                elif what == 4:
                    chance.choice(made).dup().close()
                else:
                    socket.socket(fileno=made.pop(chance.randrange(size(made))).detach()).close()
            except (OSError, IndexError):
                continue
            except BaseException as error:  # noqa: BLE001 - it is what we look for
                strange.append(shown(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # A number that a thread closed may have become another socket: that is plain Python's too.
    say("strange", [text for text in strange if "negative" not in text and "detached" not in text])
    for each in made:
        with contextlib.suppress(OSError):
            each.close()


def recursion() -> None:
    """Near the limit: how deep a socket call still works, and that it is a RecursionError beyond."""
    one, two = socket.socketpair()
    kinds = set()

    def deeper(left: int) -> None:
        try:
            one.send(b"x")
            two.recv(1, socket.MSG_DONTWAIT)
            one.dup().close()
        except BaseException as error:  # noqa: BLE001 - it is what we look for
            kinds.add(kind(error).__name__)
        if left:
            deeper(left - 1)

    sys.setrecursionlimit(300)
    try:
        deeper(400)
    except RecursionError:
        kinds.add("RecursionError")
    sys.setrecursionlimit(1000)
    say("kinds", sorted(kinds))
    lives("after")


def profiled() -> None:
    """What a profile or trace function of the program is told: its own frames as without us."""
    seen: list[str] = []
    here = udp.__code__.co_filename

    def hook(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename == here and event in ("call", "return", "line"):
            seen.append(f"{event} {frame.f_code.co_name}")
        return hook

    for install in (sys.setprofile, sys.settrace):
        install(hook)
        udp("hooked")
        install(None)
        say(install.__name__, (size(seen), sorted(set(seen))))
        seen.clear()


def forks() -> None:
    """Forks in threads, while others use sockets."""
    statuses = []
    stop = threading.Event()

    def busy() -> None:
        one, two = socket.socketpair()
        while not stop.is_set():
            one.send(b"x")
            two.recv(1)

    def fork() -> None:
        for _ in range(5):
            pid = os.fork()
            if not pid:
                try:
                    one, two = socket.socketpair()
                    one.send(b"x")
                    os._exit(40 + size(two.recv(9)))
                finally:
                    os._exit(1)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    threads = [threading.Thread(target=each) for each in (busy, busy, fork, fork)]
    for each in threads:
        each.start()
    for each in threads[2:]:
        each.join()
    stop.set()
    for each in threads[:2]:
        each.join()
    say("statuses", statuses)


def exits() -> None:
    """Every way to end, of a child, with its output and status."""
    ways = {
        "return": "pass",
        "exit": "sys.exit(3)",
        "text": "sys.exit('words')",
        "_exit": "os._exit(4)",
        "raise": "raise OSError(5, 'x')",
        "kill": "os.kill(os.getpid(), 9)",
        "term": "os.kill(os.getpid(), 15)",
        "abort": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
        "exec": """program = 'import socket; print(socket.socketpair()[0].fileno())'
os.execv(sys.executable, [sys.executable, '-c', program])""",
        "atexit": "import atexit; atexit.register(lambda: print(socket.socket().fileno()))",
        "thread": """import threading
threading.Thread(target=lambda: print(socket.socket().fileno())).start()""",
        "broken": "os.close(1); print('x', flush=True)",
        "unclosed": "s = socket.socket()",
        "warning": "warnings.warn('w', DeprecationWarning)",
        "global": "class G:\n  def __del__(self): print(socket and socket.socket().fileno())\ng = G()",
    }
    for name, way in ways.items():
        # When the collector comes is not promised, and the order of the last finalizers is its.
        first = "import gc, os, socket, sys, warnings\ngc.disable()\na, b = socket.socketpair()\n"
        text = f"{first}a.send(b'x'); b.recv(1)\n{way}\n"
        more = [["-W", "always"], ["-W", "error"], ["-X", "dev"], ["-X", "tracemalloc"], ["-O"]]
        for switches in [[], *(more if name in ("unclosed", "warning", "global") else [])]:
            done = subprocess.run(
                [sys.executable, *switches, "-c", text], capture_output=True, text=True
            )
            say(f"{name} {switches}", (done.returncode, done.stdout, done.stderr))


def warned() -> None:
    """Warnings, with their file, line, module and source."""
    for action in ("default", "always", "module", "once"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            for _ in range(3):
                socket.socket()
                socket.socket().makefile()
                socket.create_server(("127.0.0.1", 0))
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", 1), 1)
                ssl.SSLContext(ssl.PROTOCOL_TLS)
                threading.Thread().setDaemon(True)
                array.array("u")
        say(
            action,
            [
                (w.category.__name__, str(w.message).split(" fd=")[0], w.filename[-20:], w.lineno)
                for w in caught
            ],
        )
    say("registry", sorted(str(k)[:60] for k in globals().get("__warningregistry__", {})))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say("unraisable", [])
        hook, found = sys.unraisablehook, []
        sys.unraisablehook = lambda u: found.append(
            f"{u.exc_type.__name__} {type(u.object).__name__}"
        )
        socket.socket()
        sys.unraisablehook = hook
        say("unraised", found)


def tracebacks() -> None:
    """The text of tracebacks, without the one more frame that ours are."""
    sock = socket.socket()
    for call in (
        lambda: sock.accept(),
        lambda: sock.send(b"x"),
        lambda: sock.connect(("127.0.0.1", 1)),
    ):
        try:
            call()
        except OSError:
            lines = traceback.format_exc().splitlines()
            while (at := next((i for i, line in enumerate(lines) if "/sockfsm/" in line), -1)) >= 0:
                end = next(i for i in range(at + 1, size(lines)) if not lines[i].startswith("    "))
                del lines[at:end]
            say("traceback", lines)
    sock.close()


def subinterpreters() -> None:
    for name in ("_interpreters", "_xxsubinterpreters"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            break
    else:
        return
    text = (
        "import os, socket\na, b = socket.socketpair()\na.send(b'sub')\n"
        "os.write(1, b'sub -> ' + b.recv(9) + b'\\n')\na.close(); b.close()"
    )
    for _ in range(2):
        made = module.create()
        tried("run", module.run_string, made, text)
        module.destroy(made)
    lives("main")


def processes() -> None:
    for method in ("fork", "spawn", "forkserver"):
        context: Any = multiprocessing.get_context(method)
        one, two = context.Pipe()
        child = context.Process(target=_work, args=(two,))
        child.start()
        say(f"{method} answer", one.recv())
        child.join()
        say(f"{method} status", child.exitcode)


def _work(pipe: Any) -> None:
    one, two = socket.socketpair()
    one.send(b"child")
    pipe.send((two.recv(9), sorted(n for n in os.environ if n.startswith("MULTI"))))


def faults() -> None:
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False, file=sys.stdout)
    os.kill(os.getpid(), signal.SIGUSR1)
    lives("faults")
    say("enabled", faulthandler.is_enabled())


def sizes() -> None:
    """Data arrives whole, whatever the size of a buffer's items, and whoever waits."""
    for code in "bBhHiIlLqQfd":
        for count in (1, 1000, 39872, 100_000):
            data = array.array(code, bytes(count * array.array(code).itemsize))
            for timeout in (None, 5):
                one, two = socket.socketpair()
                one.settimeout(timeout)
                got: list[int] = []

                def read(two: Any = two, got: list[int] = got) -> None:
                    while piece := two.recv(70_000):
                        got.append(size(piece))

                thread = threading.Thread(target=read)
                thread.start()
                one.sendall(data)
                one.close()
                thread.join()
                two.close()
                say(f"{code} {count} {timeout}", (sum(got), count * data.itemsize))
