"""gevent and eventlet: programs of theirs, run as they are, and what their traces have to say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from traced import calls_of, made_by, program, run, sockets_of, states_of

from sockfsm.trace.trace import Trace

LIBRARIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
        ),
    )
    for name in ("gevent", "eventlet")
]


@pytest.mark.parametrize("library", LIBRARIES)
def test_echo(tmp_path: Path, library: str) -> None:
    calls = calls_of(run(tmp_path / "trace", program("green_echo"), library))
    assert len(made_by(calls, "accepted")) == 3
    ends = sockets_of(calls, "tcp")
    assert len(ends) == 7
    assert all(states_of(own)[-1] == "CLOSED" for own in ends.values())
    # One record for a call of the program's, and none for what the library tries meanwhile.
    methods = [call.method for call in calls if call.method != "getaddrinfo"]
    assert {name: methods.count(name) for name in set(methods)} == {
        "socket": 4, "bind": 1, "listen": 1, "accept": 3, "accepted": 3, "connect": 3,
        "sendall": 6, "recv": 12, "shutdown(SHUT_WR)": 3, "close": 7,
    }  # fmt: skip
    assert [call.outcome for call in calls if call.outcome not in ("ok", "eof")] == []
    assert {Path(c.site.file).name for c in calls if c.site} == {"green_echo.py"}
    # Three echoes of one thread wait at the same time.
    waits = [
        c for c in calls if c.method == "recv" and c.waited and c.site and c.site.function == "echo"
    ]
    first = sorted(waits, key=lambda call: call.begin)[:3]
    assert len({call.thread.number for call in first}) == 3
    assert max(call.begin for call in first) < min(call.end for call in first)
    assert {call.thread.name.partition("-")[0] for call in waits} == {"greenlet"}
    assert len({call.thread.ident for call in waits}) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_wsgi(tmp_path: Path, library: str) -> None:
    calls = calls_of(run(tmp_path / "trace", program("green_wsgi"), library))
    assert len(made_by(calls, "accepted")) == 1
    paths = [states_of(own) for own in sockets_of(calls, "tcp").values()]
    assert len(paths) == 3
    assert all(path[-1] == "CLOSED" for path in paths)
    assert sum("LISTENING" in path for path in paths) == 1


SEEN = """
import sys
LIBRARY = sys.argv[1]
import socket, select
plain = socket.socket
if LIBRARY == "gevent":
    import gevent.socket as green, gevent.ssl
else:
    import warnings; warnings.simplefilter("ignore")
    import eventlet.green.socket as green, eventlet.green.ssl
cls = green.socket
sock = cls(socket.AF_INET, socket.SOCK_STREAM)
print(sorted(dir(cls)) , sorted(dir(sock)))
print(cls.__name__, cls.__module__, cls.__mro__, isinstance(sock, plain), plain is socket.socket)
print([(n, getattr(cls, n).__qualname__, getattr(cls, n).__module__, getattr(cls, n).__doc__)
       for n in ("accept", "bind", "connect", "recv", "send", "sendall", "shutdown", "close")
       if hasattr(cls, n)])
def tell(call):
    try:
        print(repr(call()))
    except BaseException as error:
        print(type(error).__mro__, error.args, getattr(error, "errno", None))
for name in ("bind", "connect", "connect_ex", "listen", "accept", "recv", "recv_into", "recvfrom",
             "recvmsg", "send", "sendall", "sendto", "sendmsg", "shutdown", "getsockopt", "detach"):
    for args in ((), (None,), ("x", 1, 2, 3, 4), (-1,), (object,), (3.5,), ([],)):
        other = cls(socket.AF_INET, socket.SOCK_STREAM)
        other.settimeout(0.0)
        if (name, args) not in (("detach", ()),):
            tell(lambda: getattr(other, name)(*args))
        other.close()
        if name != "detach":
            tell(lambda: getattr(other, name)(*args))
sock.close(); sock.close()
print(len(sys.meta_path), len(sys.path_hooks), [type(finder) for finder in sys.meta_path])
try:
    import absent_module
except ImportError:
    import traceback; traceback.print_exc(file=sys.stdout)
from importlib.machinery import SourceFileLoader
print(SourceFileLoader.exec_module.__qualname__, SourceFileLoader.exec_module.__module__,
      SourceFileLoader.exec_module.__code__.co_filename)
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_shows(tmp_path: Path, library: str) -> None:
    """Classes, arguments of every sort, refusals, imports: the same plain and traced."""
    file = tmp_path / "seen.py"
    file.write_text(SEEN)
    outputs = []
    for words in ([], ["-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "trace")]):
        done = subprocess.run(
            [sys.executable, *words, *([sys.executable] if words else []), str(file), library],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert sum(call.method == "socket" for call in Trace.open(tmp_path / "trace").calls()) > 50


MANY = """
from gevent import monkey; monkey.patch_all()
import gevent, socket
from sockfsm.tracer import recorder
from sockfsm.tracer.adapters import cooperative, greenlets
a, b = socket.socketpair()
for _ in range(300):
    crowd = [gevent.spawn(a.send, b"x"), gevent.spawn(b.recv, 1)]
    gevent.joinall(crowd)
del crowd
import gc; gc.collect()
print(len(recorder.threads), len(greenlets._lanes), len(cooperative._running))
"""


@pytest.mark.parametrize("library", LIBRARIES[:1])
def test_greenlets_that_are_gone_leave_nothing(tmp_path: Path, library: str) -> None:
    file = tmp_path / "many.py"
    file.write_text(MANY)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "t")]
    done = subprocess.run(
        [*command, sys.executable, str(file)], capture_output=True, text=True, timeout=PATIENCE
    )
    threads, lanes, running = map(int, done.stdout.split())
    assert threads < 20
    assert lanes < 10
    assert running == 0
    calls = calls_of(Trace.open(tmp_path / "t"))
    assert sum(call.method in ("send", "recv") for call in calls) == 600
    assert len({call.thread.number for call in calls}) < 10


def test_what_is_not_seen_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("")
    (tmp_path / "program.py").write_text("import uvloop, uvloop\nprint('runs')\n")
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "t")]
    done = subprocess.run(
        [*command, sys.executable, str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "runs\n"
    told = [line for line in done.stderr.splitlines() if "uvloop" in line]
    assert len(told) == 1
    trace = Trace.open(tmp_path / "t")
    assert list(trace.calls()) == []
    assert sum("uvloop" in problem for problem in trace.problems) == 1


NAMES = """
import os, resource, sys
from gevent import monkey
if len(sys.argv) > 1:
    monkey.patch_all()
import gevent.socket as green
green.getaddrinfo("127.0.0.1", 80)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
os.close(free := os.dup(0))
resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
try:
    green.socket()
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize("library", LIBRARIES[:1])
@pytest.mark.parametrize("patched", [(), ("patched",)])
def test_names_and_refused_births_are_logged_and_what_is_not_guarded_is_said(
    tmp_path: Path, library: str, patched: tuple[str, ...]
) -> None:
    file = tmp_path / "names.py"
    file.write_text(NAMES)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "--enforce", "-o"]
    done = subprocess.run(
        [*command, str(tmp_path / "t"), sys.executable, str(file), *patched],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "24\n"
    assert done.stderr.count("gevent: enforce stops no call of its sockets") == 1
    trace = Trace.open(tmp_path / "t")
    told = [(call.method, call.outcome) for call in trace.calls()]
    assert told == [("getaddrinfo", "ok"), ("socket", "EMFILE")]
