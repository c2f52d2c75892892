"""Real programs in the simulator: what they say, what time it is, how a run ends, what is named."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from simulated import ECHO_CLIENT, ECHO_SERVER, complaints, methods, printed, programs, simulated

from sockfsm.sim.network import EPOCH, Rules
from sockfsm.sim.programs.run import Program, Runner, Setting, simulate
from sockfsm.sim.programs.world import Limits

PROGRAMS = Path(__file__).parent.parent / "traces/programs"


def test_an_echo_is_an_ordinary_trace() -> None:
    result = simulated(ECHO_SERVER, ECHO_CLIENT)
    assert result.good
    assert printed(result) == ["b'HELLO'"]
    calls = list(result.trace.calls())
    assert all(call.explained for call in calls)
    assert {str(call.site) for call in calls if call.method == "recv"} == {"p1.py:6", "p2.py:5"}
    assert [process.command for process in result.trace.summary().processes] == [
        ("p1.py",),
        ("p2.py",),
    ]
    final = {s.identity: s.kind for s in result.trace.sockets.values()}
    assert final == {"1001.1": "tcp", "1001.2": "tcp", "1002.1": "tcp"}
    assert [p.flags for p in result.trace.packets()][:3] == ["S", "SA", "A"]


def test_time_is_virtual() -> None:
    result = simulated("""
        import time, datetime, threading
        begin = time.monotonic()
        time.sleep(1000)
        print(round(time.monotonic() - begin), time.gmtime().tm_year)
        print(datetime.datetime.now(datetime.timezone.utc).isoformat()[:16])
        threading.Event().wait(500)
        print(round(time.time()))
        while time.monotonic() < begin + 1500.01:
            pass  # looking at the clock takes a moment, too
    """)
    assert printed(result) == ["1000 2000", "2000-01-01T00:16", str(EPOCH // 10**9 + 1501)]
    assert result.good


def test_what_is_random_is_the_seeds() -> None:
    text = """
        import os, random, secrets, uuid
        print(os.urandom(4).hex(), random.random(), secrets.token_hex(4), uuid.uuid4())
        print(random.Random().random(), random.Random(5).random())
    """
    first, again, other = (printed(simulated(text, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    import random

    assert first[1].endswith(str(random.Random(5).random()))


def test_programs_share_no_state() -> None:
    result = simulated(
        """
        import os, socket, sys, threading, json
        socket.setdefaulttimeout(5)
        os.environ["MINE"] = "yes"
        json.mine = sys.mine = socket.mine = True
        sys.modules["extra"] = socket
        threading.Event().wait(1)
        print(threading.active_count(), len(sys.argv))
        """,
        """
        import os, socket, sys, threading, json
        print(socket.getdefaulttimeout(), "MINE" in os.environ, "extra" in sys.modules)
        print(hasattr(json, "mine"), hasattr(sys, "mine"), hasattr(socket, "mine"))
        print(threading.active_count(), __name__, sys.argv)
        """,
    )
    assert printed(result, "p2.py") == [
        "None False False", "False False False", "1 __main__ ['p2.py']"
    ]  # fmt: skip
    assert printed(result, "p1.py") == ["1 1"]
    assert not hasattr(socket, "mine")


def test_arguments_and_exit_status() -> None:
    texts = [
        "import sys; print(sys.argv[1:]); sys.exit(3)",
        "import sys; sys.exit('that was all')",
        "raise ValueError('no')",
        "import os; print('here'); os._exit(4)",
        "import atexit; atexit.register(print, 'bye'); print('end')",
    ]
    made = [Program(str(n), code=text, arguments=("a", "b c")) for n, text in enumerate(texts)]
    result = simulate(made)
    assert [status for _, status in result.statuses] == [3, 1, 1, 4, 0]
    assert printed(result) == ["['a', 'b c']", "here", "end", "bye"]
    assert [str(finding) for finding in result.findings] == ["2:1: 2 ends by ValueError: no"]
    assert not result.good


def test_a_traceback_is_the_programs() -> None:
    result = simulated("""
        import socket, traceback
        def connect():
            socket.create_connection(("127.0.0.1", 1))
        try:
            connect()
        except OSError:
            traceback.print_exc()
        import threading
        t = threading.Thread(target=connect, name="helper")
        t.start()
        t.join()
        connect()
    """)
    said = complaints(result)
    assert said.count("ConnectionRefusedError: [Errno 111] Connection refused") == 3
    assert "Exception in thread helper" in said
    assert "sockfsm" not in said
    assert '"p1.py", line 4, in connect' in said
    assert [str(finding.site) for finding in result.findings] == ["p1.py:4", "p1.py:4"]
    assert "p1.py, helper ends by" in result.findings[0].text
    assert result.statuses == [("p1.py", 1)]


def test_kinds_and_their_calls() -> None:
    result = simulated("""
        import os, socket
        for family, address in ((socket.AF_UNIX, "/nowhere/x"), (socket.AF_INET, ("127.0.0.1", 99))):
            for type in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                one, two = socket.socket(family, type), socket.socket(family, type)
                one.bind(address)
                if type == socket.SOCK_STREAM:
                    one.listen(1)
                    two.connect(address)
                    data, peer = one.accept()
                    print(two.getpeername(), two.getsockname() == peer, data.getpeername() == peer)
                    print(os.write(data.fileno(), b"written"), os.read(two.fileno(), 100))
                    two.send(b"peeked")
                    print(data.recv(3, socket.MSG_PEEK), data.recv(6, socket.MSG_WAITALL))
                    copy = data.dup()
                    data.close()
                    copy.sendmsg([b"a", b"b"])
                    buffer = bytearray(9)
                    print(two.recv_into(buffer), buffer[:2])
                    copy.close()
                    print(two.recv(9))
                else:
                    two.sendto(b"datagram", address)
                    print(one.recvfrom(100)[0])
                    two.connect(address)
                    two.send(b"longer")
                    print(one.recvfrom(3)[0])
                one.close(), two.close()
                if family == socket.AF_UNIX:
                    print(os.path.exists(address))
                    os.unlink(address)
                    print(os.path.exists(address))
        one, two = socket.socketpair()
        one.sendall(b"pair")
        print(two.recv(9), one.fileno(), two.fileno())
    """)
    assert complaints(result) == ""
    stream = ["7 b'written'", "b'pee' b'peeked'", "2 bytearray(b'ab')", "b''"]
    datagram = ["b'datagram'", "b'lon'", "True", "False"]
    assert printed(result) == [
        "/nowhere/x True True", *stream, "True", "False", *datagram,
        "('127.0.0.1', 99) True True", *stream, *datagram[:2],
        "b'pair' 3 4",
    ]  # fmt: skip
    assert {"unlink", "close", "recvfrom", "sendto", "socketpair"} <= set(methods(result))


def test_timeouts_and_modes() -> None:
    result = simulated("""
        import errno, os, select, socket, time
        a, b = socket.socketpair()
        a.settimeout(2.5)
        begin = time.monotonic()
        try:
            a.recv(1)
        except TimeoutError as error:
            print(error, round(time.monotonic() - begin, 3))
        a.setblocking(False)
        try:
            a.recv(1)
        except BlockingIOError as error:
            print(errno.errorcode[error.errno])
        print(select.select([a], [b], [], 5)[1] == [b], select.select([a], [], [], 5))
        b.sendall(b"x")
        print(select.select([a], [], [], 5)[0] == [a])
        poll = select.poll()
        poll.register(a, select.POLLIN)
        print(poll.poll(100) == [(a.fileno(), select.POLLIN)])
        with select.epoll() as epoll:
            epoll.register(a, select.EPOLLIN | select.EPOLLET)
            print(len(epoll.poll(1)), len(epoll.poll(1)))
        b.close()
        print(poll.poll() == [(a.fileno(), select.POLLIN | select.POLLHUP)])
        for bad in (lambda: os.read(77, 1), lambda: socket.socket(fileno=77), b.getsockname):
            try:
                bad()
            except OSError as error:
                print(errno.errorcode[error.errno])
    """)
    assert complaints(result) == ""
    assert printed(result) == [
        "timed out 2.5", "EAGAIN", "True ([], [], [])", "True", "True", "1 0", "True",
        "EBADF", "EBADF", "EBADF",
    ]  # fmt: skip


def test_names_of_hosts() -> None:
    result = simulated(
        """
        import socket
        listening = socket.create_server(("", 80))
        data, peer = listening.accept()
        print(peer[0], socket.gethostname())
        """,
        """
        import socket
        print(socket.getaddrinfo("p1", "http", type=socket.SOCK_STREAM))
        sock = socket.create_connection(("P1", 80))
        print(sock.getpeername())
        try:
            socket.create_connection(("elsewhere", 80))
        except socket.gaierror as error:
            print(error)
        """,
        hosts={"p1": "10.0.0.1", "p2": "10.0.0.2"},
        network=Rules(latency=20_000_000),
    )
    assert complaints(result) == ""
    assert printed(result, "p1.py") == ["10.0.0.2 p1"]
    found = f"({int(socket.AF_INET)}, {int(socket.SOCK_STREAM)}, 6, '', ('10.0.0.1', 80))"
    names = socket.getaddrinfo("10.0.0.1", 80, type=socket.SOCK_STREAM)
    assert printed(result, "p2.py") == [
        repr(names), "('10.0.0.1', 80)", "[Errno -2] Name or service not known"
    ], found  # fmt: skip


def test_ipv6_where_it_is_asked_for() -> None:
    result = simulated("""
        import socket
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
        print(listening.getsockname()[0], len(listening.getsockname()))
        name = listening.getsockname()
        found = socket.getaddrinfo("localhost", name[1], socket.AF_INET6, socket.SOCK_STREAM)
        print(found[0][4] == name)
        with socket.create_connection(("::1", name[1])) as sock:
            data, peer = listening.accept()
            print(peer == sock.getsockname(), sock.getpeername() == name)
            data.sendall(b"six")
            print(sock.recv(3))
    """)
    assert complaints(result) == ""
    assert printed(result) == ["::1 4", "True", "True True", "b'six'"]


def test_options() -> None:
    result = simulated("""
        import socket, struct, time
        listening = socket.create_server(("127.0.0.1", 7000))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        get = listening.getsockopt
        print(get(socket.SOL_SOCKET, socket.SO_REUSEADDR), get(socket.SOL_SOCKET, socket.SO_RCVBUF))
        print(get(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), get(socket.SOL_SOCKET, socket.SO_TYPE))
        sock = socket.create_connection(("127.0.0.1", 7000))
        data, _ = listening.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        sock.setblocking(False)
        print(sock.send(b"x" * 100_000) < 10_000)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        time.sleep(100)
        data.recv(100_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        try:
            while data.recv(100_000):
                pass
        except ConnectionResetError as error:
            print(error)
        try:
            data.setsockopt(socket.SOL_SOCKET, 12345, 1)
        except OSError as error:
            print(error)
    """)
    assert complaints(result) == ""
    assert printed(result) == [
        "1 8192", "1 1", "1", "True",
        "[Errno 104] Connection reset by peer", "[Errno 92] Protocol not available",
    ]  # fmt: skip


def test_a_call_on_a_closed_socket_is_recorded() -> None:
    result = simulated("""
        import socket
        sock = socket.socket()
        sock.close()
        try:
            sock.listen()
        except OSError as error:
            print(error)
    """)
    assert printed(result) == ["[Errno 9] Bad file descriptor"]
    last = list(result.trace.calls())[-1]
    assert (last.method, last.outcome, last.before, last.predicted) == (
        "listen", "EBADF", "CLOSED", "EBADF",
    )  # fmt: skip


NOT_SIMULATED = {
    "import subprocess\nsubprocess.run(['true'])": "subprocess.run cannot be simulated",
    "import os\nos.fork()": "os.fork cannot be simulated",
    "import os\nos.system('true')": "os.system cannot be simulated",
    "import multiprocessing\nmultiprocessing.Process(target=print).start()": "cannot be simulated",
    "import signal\nsignal.alarm(3)": "signal.alarm cannot be simulated",
    "1\nopen('/dev/urandom')": "open('/dev/urandom') cannot be simulated",
    "import ssl\n1": "import ssl cannot be simulated",
    "import ctypes\n1": "import ctypes cannot be simulated",
    "import socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)": "cannot be simulated",
}


@pytest.mark.parametrize("text", NOT_SIMULATED)
def test_what_cannot_be_simulated_is_named_at_the_call(text: str) -> None:
    result = simulated(text)
    assert [finding.kind for finding in result.findings] == ["unsupported"]
    place = "1" if text.startswith(("import ssl", "import ctypes")) else "2"
    assert str(result.findings[0]).startswith(f"p1.py:{place}: ")
    assert NOT_SIMULATED[text] in str(result.findings[0])
    assert result.statuses == [("p1.py", 1)]
    caught = simulated(f"try:\n    exec({text!r})\nexcept Exception:\n    print('on')")
    assert printed(caught) == ["on"]
    assert len(caught.findings) == 1


def test_a_deadlock_is_named() -> None:
    result = simulated(
        """
        import socket
        data, _ = socket.create_server(("127.0.0.1", 7000)).accept()
        data.recv(1)
        """,
        """
        import socket
        sock = socket.create_connection(("127.0.0.1", 7000))
        sock.recv(1)
        """,
    )
    assert [str(finding) for finding in result.findings] == [
        "p1.py:4: p1.py is blocked for ever in recv (CONNECTED): it waits for p2.py, blocked in recv"
        " at p2.py:4",
        "p2.py:4: p2.py is blocked for ever in recv (CONNECTED): it waits for p1.py, blocked in recv"
        " at p1.py:4",
    ]
    assert [wait.method for wait in result.trace.summary().blocked] == ["recv", "recv"]
    assert result.statuses == [("p1.py", None), ("p2.py", None)]


def test_what_was_written_before_a_deadlock_is_kept_and_nothing_after() -> None:
    result = simulated("""
        import socket
        one, two = socket.socketpair()
        print("half a line", end="")
        try:
            one.recv(1)
        finally:
            print("never")
    """)
    assert printed(result) == ["half a line"]
    assert [finding.kind for finding in result.findings] == ["deadlock"]


def test_a_deadlock_of_locks_is_named() -> None:
    text = """
        import threading
        one, two = threading.Lock(), threading.Lock()
        def work(first, second):
            with first:
                with second:
                    pass
        threads = [threading.Thread(target=work, args=a, name=n)
                   for n, a in (("A", (one, two)), ("B", (two, one)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    """
    runner = Runner(programs(text))
    runs = [runner.run(Setting(seed=seed)) for seed in range(30)]
    stuck = [run for run in runs if not run.good]
    assert stuck
    assert len(stuck) < len(runs)
    said = [str(finding) for finding in stuck[0].findings]
    assert said[1:] == [
        "p1.py:6: p1.py, A is blocked for ever in acquire: it waits for p1.py, B, blocked in acquire"
        " at p1.py:6",
        "p1.py:6: p1.py, B is blocked for ever in acquire: it waits for p1.py, A, blocked in acquire"
        " at p1.py:6",
    ]
    assert said[0].startswith("p1.py:13: p1.py is blocked for ever in ")
    assert said[0].endswith("it waits for p1.py, A, blocked in acquire at p1.py:6")


@pytest.mark.parametrize("loop", ["serve_forever()", "serve_forever(poll_interval=None)"])
def test_a_server_is_stopped_when_nobody_can_come(loop: str) -> None:
    result = simulated(
        f"""
        import socketserver
        class Echo(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline())
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 7000), Echo)
        try:
            server.{loop}
        except KeyboardInterrupt:
            print("stopped")
        server.server_close()
        """,
        """
        import socket, time
        with socket.create_connection(("localhost", 7000)) as sock:
            sock.sendall(b"hello\\n")
            time.sleep(300)  # nobody is idle while somebody sleeps for once
            print(sock.recv(100))
        """,
    )
    assert printed(result) == ["b'hello\\n'", "stopped"]
    assert result.good


def test_limits() -> None:
    endless = """
        import socket
        one, two = socket.socketpair()
        while True:
            one.send(b"x")
            two.recv(1)
    """
    result = simulated(endless, limits=Limits(calls=100))
    assert [str(finding) for finding in result.findings] == [
        "p1.py:6: stopped after 100 calls: it may never end"
    ]
    assert 95 < len(methods(result)) <= 101
    assert result.statuses == [("p1.py", None)]
    waiting = "import time\nwhile True:\n    time.sleep(1)"
    result = simulated(waiting, limits=Limits(time=10**11))
    assert [str(finding) for finding in result.findings] == [
        "stopped after 100 simulated seconds: it may never end"
    ]
    stubborn = """
        import time
        while True:
            try:
                time.sleep(1)
            except BaseException:
                pass
    """
    assert simulated(stubborn, limits=Limits(calls=50)).findings


def test_a_program_that_only_computes_is_stopped() -> None:
    text = """
        import threading
        ready = []
        threading.Thread(target=ready.append, args=(1,)).join  # never started
        while not ready:
            pass
    """
    result = simulated(text, limits=Limits(patience=0.2))
    assert len(result.findings) == 1
    assert str(result.findings[0]).startswith(("p1.py:5: stopped after 0.2 s", "p1.py:6: stopped"))
    stubborn = """
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
    """
    assert len(simulated(stubborn, limits=Limits(patience=0.2)).findings) == 1


def test_ctrl_c_ends_a_run_and_leaves_the_trace() -> None:
    text = """
        import socket
        socket.socket().close()
        print("running")
        while True:
            pass
    """

    def press(*_: str) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.1)

    def pressed(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGVTALRM, pressed)
    try:
        result = simulate(programs(text), Setting(limits=Limits(patience=60)), emit=press)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert [finding.text for finding in result.findings] == ["stopped by Ctrl-C"]
    assert methods(result) == ["socket", "close"]


def test_what_else_programs_import() -> None:
    """A library in C; what reads the clock, the arguments and files, by whatever way."""
    result = simulated("""
        import argparse, datetime, pathlib, sched, socket, tempfile, unittest
        import msgspec
        print(msgspec.json.encode({"a": [1, 2.5]}))
        parser = argparse.ArgumentParser()
        parser.add_argument("--number", type=int, default=3)
        print(parser.parse_args().number, datetime.date.today())
        with tempfile.TemporaryDirectory() as folder:
            path, name = pathlib.Path(folder, "file"), pathlib.Path(folder, "socket")
            path.write_text("text")
            with path.open() as file, socket.socket(socket.AF_UNIX) as sock:
                print(file.read(), sock.fileno() == 3, file.fileno() > 3)
                sock.bind(str(name))
                print(name.is_socket())
                name.unlink()
                print(name.exists())
        scheduler = sched.scheduler()
        scheduler.enter(100, 1, print, ("late",))
        scheduler.run()
        class Test(unittest.TestCase):
            def test(self):
                self.assertEqual(1, 1)
        unittest.main(argv=["x"], exit=False)
    """)
    assert result.good, complaints(result)
    assert printed(result) == [
        'b\'{"a":[1,2.5]}\'', "3 2000-01-01", "text True True", "True", "False", "late",
    ]  # fmt: skip
    assert "Ran 1 test in 0.000s" in complaints(result)


RECORDED = {
    "openings": None,
    "tcp_echo": ["hello"],
    "udp_echo": ["hello", "again"],
    "unix_stale_path": ["Address already in use", "HELLO"],
    "shutdown_trap": None,
    "wrong_order": None,
    "zero_windows": None,
}


@pytest.mark.parametrize("name", RECORDED)
def test_the_programs_of_the_recorded_traces(name: str) -> None:
    result = simulate([Program.parse(str(PROGRAMS / f"{name}.py"))])
    assert result.good, complaints(result)
    assert printed(result) == RECORDED[name] or RECORDED[name] is None
    assert all(call.explained for call in result.trace.calls())
