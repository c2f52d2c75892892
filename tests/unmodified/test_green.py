"""gevent and eventlet: programs of theirs, run as they are, and what their traces have to say."""

import errno
import importlib.util
import inspect
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import plain_and_traced
import pytest
from patience import PATIENCE
from traced import calls_of, made_by, program, run, sockets_of, states_of

from sockfsm.trace.trace import Trace
from sockfsm.tracer.adapters.standing_in import named
from sockfsm.tracer.adapters.tls_ends import TLSEndedError, judged

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
    plain, seen = plain_and_traced.run(file, library)
    assert plain.returncode == seen.returncode == 0, seen.stderr
    assert plain.stdout == seen.stdout
    assert sum(call.method == "socket" for call in Trace.open(tmp_path / "trace").calls()) > 50


MANY = """
from gevent import monkey; monkey.patch_all()
import gevent, socket
from sockfsm.tracer.adapters import greenlets
from sockfsm.tracer.current import session
a, b = socket.socketpair()
for _ in range(300):
    crowd = [gevent.spawn(a.send, b"x"), gevent.spawn(b.recv, 1)]
    gevent.joinall(crowd)
del crowd
import gc; gc.collect()
print(len(session.threads.living), len(greenlets._lanes), len(session.running))
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


REUSED = """
import gc, sys
if sys.argv[1] == "gevent":
    from gevent import monkey; monkey.patch_all()
else:
    import warnings; warnings.simplefilter("ignore")
    import eventlet; eventlet.monkey_patch()
import socket
STREAM = socket.SOCK_STREAM
def moved(sock):
    twin = socket.fromfd(sock.fileno(), sock.family, STREAM); sock.close(); return twin
def doubled(sock):
    twin = sock.dup(); sock.close(); return twin
def rebuilt(sock):
    return socket.socket(sock.family, STREAM, 0, sock.detach())
def talk(x, y):
    x.sendall(b"hi"); x.close()
    assert y.recv(5) == b"hi" and y.recv(5) == b""
    y.close()
for way in (moved, doubled, rebuilt):
    x, y = socket.socketpair()
    talk(way(x), way(y))
listener = socket.create_server(("127.0.0.1", 0))
for _ in range(5):
    # Nobody closes the first ones: they are collected.
    client = socket.create_connection(listener.getsockname())
    data = listener.accept()[0]
    client.sendall(b"x"); assert data.recv(1) == b"x"
    del client, data
    gc.collect()
    client = socket.create_connection(listener.getsockname())
    talk(client, listener.accept()[0])
listener.close()
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_new_object_at_the_address_of_one_that_is_gone_is_another_socket(
    tmp_path: Path, library: str
) -> None:
    file = tmp_path / "reused.py"
    file.write_text(REUSED)
    calls = calls_of(run(tmp_path / "trace", str(file), library))
    assert [(call.method, call.before) for call in calls if not call.explained] == []
    paths = [states_of(own) for own in sockets_of(calls, "unix-stream").values()]
    assert len(paths) == 6
    methods = [call.method for call in calls]
    assert methods.count("fromfd") == methods.count("dup") == methods.count("detach") == 2
    assert len(made_by(calls, "accepted")) == 10
    tcp = [states_of(own) for own in sockets_of(calls, "tcp").values()]
    assert len(tcp) == 21
    assert {path[-1] for path in paths + tcp} == {"CLOSED"}
    # What is sent by one end of a pair is received by the other.
    talks = [
        c
        for c in calls
        if c.method in ("sendall", "recv") and c.socket and c.socket.kind == "unix-stream"
    ]
    assert all(a.socket != b.socket == c.socket for a, b, c in zip(*[iter(talks)] * 3, strict=True))


PARAMETERS = """
import importlib, inspect, socket, sys, types, warnings; warnings.simplefilter("ignore")
def ask(question, value):
    try:
        return question(value)
    except (TypeError, ValueError) as error:
        return type(error)
def told(where, value):
    if type(getattr(value, "__wrapped__", None)) is types.MethodDescriptorType:
        return  # inherited from C, which says nothing of its parameters
    code = getattr(value, "__code__", None)
    if code is None:
        print(where, ask(inspect.signature, value))  # of C
        return
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)
                             + bool(code.co_flags & 8)]
    print(where, value.__name__, value.__defaults__, value.__kwdefaults__, value.__annotations__,
          code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
          code.co_flags & 12, names, ask(inspect.signature, value),
          ask(inspect.getfullargspec, value))
for name in sys.argv[1].split():
    module = importlib.import_module(name)
    for key, value in sorted(vars(module).items()):
        if isinstance(value, type) and value is not socket.socket:
            for inner, each in sorted(vars(value).items()):
                if callable(each):
                    told(f"{name}.{key}.{inner}", each)
        elif callable(value):
            told(f"{name}.{key}", value)
"""
ADAPTED = {
    "gevent": "gevent._socketcommon gevent._socket3 gevent.socket gevent.ssl",
    "eventlet": "eventlet.greenio.base eventlet.green._socket_nodns eventlet.green.ssl",
    "ssl": "ssl multiprocessing.connection multiprocessing.util",
}


@pytest.mark.parametrize("library", [*LIBRARIES, "ssl"])
def test_what_is_replaced_keeps_its_parameters(tmp_path: Path, library: str) -> None:
    file = tmp_path / "parameters.py"
    file.write_text(PARAMETERS)
    outputs = []
    for done in plain_and_traced.run(file, ADAPTED[library]):
        assert done.returncode == 0, done.stderr
        outputs.append(re.sub(r" at 0x[0-9a-f]+", "", done.stdout).splitlines())
    assert len(outputs[0]) > 50
    assert outputs[0] == outputs[1]


def test_every_form_of_parameter_is_kept_and_passed_on() -> None:
    def original(a: int, /, b: str = "b", *rest: int, c: int, d: int = 4, **others: int) -> None:
        """Its text."""

    def taken(*args: Any, **named: Any) -> tuple[Any, Any]:
        return args, named

    stand_in: Any = named(taken, original)
    assert stand_in(1, c=3) == ((1, "b"), {"c": 3, "d": 4})
    assert stand_in(1, "x", 5, 6, c=3, z=7) == ((1, "x", 5, 6), {"c": 3, "d": 4, "z": 7})
    with pytest.raises(TypeError, match=r"original\(\) missing 1 required keyword-only argument"):
        stand_in(1)
    assert inspect.getfullargspec(stand_in) == inspect.getfullargspec(original)
    assert stand_in.__doc__ == "Its text."


CLOSED = """
import gevent, gevent.socket as green, gevent.ssl, errno
for kind in (green.SOCK_STREAM, green.SOCK_DGRAM):
    sock = green.socket(green.AF_INET, kind)
    for call in (lambda: sock.send(b"x"), lambda: sock.shutdown(green.SHUT_WR),
                 lambda: sock.recv(1)):
        sock.setblocking(False)
        try:
            call()
        except OSError as error:
            print(errno.errorcode[error.errno])
    sock.close()
    for call in (lambda: sock.send(b"x"), lambda: sock.shutdown(green.SHUT_WR),
                 lambda: sock.recv(1)):
        try:
            call()
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("library", LIBRARIES[:1])
def test_a_refusal_of_the_kernels_is_one_without_tls(tmp_path: Path, library: str) -> None:
    file = tmp_path / "closed.py"
    file.write_text(CLOSED)
    command = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(tmp_path / "t")]
    done = subprocess.run(
        [*command, sys.executable, str(file)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    calls = list(Trace.open(tmp_path / "t").calls())
    made = ("send", "shutdown(SHUT_WR)", "recv")
    refused = [call.outcome for call in calls if call.method in made]
    assert refused == done.stdout.split()
    assert all(call.explained for call in calls)


@pytest.mark.parametrize("reading", [True, False])
def test_a_tls_call_whose_socket_another_greenlet_closed(reading: bool) -> None:
    refused, ended = OSError(errno.EBADF, "closed"), ssl.SSLEOFError(8, "no close_notify")
    assert judged(refused, reading, None) is refused
    assert isinstance(judged(ended, reading, None), TLSEndedError)
