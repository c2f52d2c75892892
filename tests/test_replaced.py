"""What the program replaced, took away or had before us: nothing of it is ours to rely on."""

from __future__ import annotations

import array
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import plain_and_traced
import pytest
from patience import PATIENCE

import sockfsm


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run a program plain and traced, and give both outputs; the trace is in `trace`."""

    def both(text: str, *arguments: str) -> tuple[str, str]:
        program = tmp_path / "program.py"
        program.write_text(text)
        plain, traced = (
            f"{done.stdout}{done.stderr}{done.returncode}"
            for done in plain_and_traced.run(program, *arguments)
        )
        return plain, traced

    return both


SERVER = """
import socket, threading
def talk():
    server = socket.create_server(("127.0.0.1", 0))
    client = threading.Thread(target=lambda: socket.create_connection(server.getsockname()).close())
    client.start()
    data, _ = server.accept()
    client.join()
    print(type(data), data.recv(5))
    return data
"""


SUBCLASS = "class S(socket.socket):\n"


@pytest.mark.parametrize(
    "change",
    [
        "import select; del select.poll",
        "import select; select.poll = None",
        "import time; time.monotonic_ns = time.time_ns = lambda: 0",
        "import os; os.open = os.close = os.truncate = os.fsencode = os.lstat = None",
        "import json, struct, mmap; json.dumps = struct.pack = mmap.mmap = None",
        "class S(socket.socket): pass\nsocket.socket = S",
        "plain = socket.socket\nsocket.socket = lambda *a, **k: plain(*a, **k)",
        f"{SUBCLASS}    def __init__(self, *a, **k): super().__init__(*a, **k)\nsocket.socket = S",
        f"{SUBCLASS}    def _accept(self): print(1); return super()._accept()\nsocket.socket = S",
    ],
    ids=lambda change: change.splitlines()[-1][:40],
)
def test_the_program_goes_on_and_is_traced(run: Any, tmp_path: Path, change: str) -> None:
    plain, traced = run(f"{SERVER}\n{change}\ntalk().close()\n")
    assert traced == plain
    calls = list(sockfsm.Trace.open(tmp_path / "trace").calls())
    assert [c.outcome for c in calls if c.method == "recv"] == ["eof"]
    assert all(c.explained for c in calls)
    assert all(c.begin <= c.end for c in calls)
    assert calls[-1].end > calls[0].begin


def test_clocks_that_are_swapped_in_every_module_stay_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """freezegun walks all modules and replaces whatever is one of time's functions."""
    with sockfsm.tracing() as trace:
        for name, function in (("monotonic_ns", time.monotonic_ns), ("time_ns", time.time_ns)):
            for module in list(sys.modules.values()):
                for attribute in list(vars(module) or ()):
                    if vars(module)[attribute] is function and module.__name__ != "time":
                        monkeypatch.setattr(module, attribute, lambda: 42)
            monkeypatch.setattr(time, name, lambda: 42)
        a, b = socket.socketpair()
        for _ in range(5000):
            a.send(b"x")
            b.recv(5)
        a.close()
        b.close()
    times = [call.end for call in trace.calls()]
    assert times == sorted(times)
    assert min(times) > 42


def test_shutil_removes_trees_as_safely_as_before(run: Any) -> None:
    plain, traced = run(
        "import os, shutil; print(shutil.rmtree.avoids_symlink_attacks)\n"
        "os.makedirs('tree/below'); d = os.open('.', os.O_RDONLY); shutil.rmtree('tree', dir_fd=d)\n"
        "print(os.path.exists('tree'), os.unlink in os.supports_dir_fd)\n"
        if sys.version_info >= (3, 11)
        else "import os, shutil; print(shutil.rmtree.avoids_symlink_attacks)\n"
    )
    assert traced == plain
    assert plain.startswith("True")


def test_functions_of_os_are_found_again_by_pickle() -> None:
    known = [set(s) for s in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks)]
    with sockfsm.tracing():
        for function in (os.unlink, os.remove, socket.getaddrinfo):
            assert pickle.loads(pickle.dumps(function)) is function
    assert known == [os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks]
    assert shutil.rmtree.avoids_symlink_attacks


def test_there_is_no_sitecustomize_where_the_user_has_none(run: Any) -> None:
    plain, traced = run(
        "import sys\n"
        "try:\n    import sitecustomize\nexcept ImportError as error:\n    print(error)\n"
        "print('sitecustomize' in sys.modules, [p for p in sys.path if 'sockfsm/startup' in p])\n"
        "print([p for p in sys.path_importer_cache if 'sockfsm/startup' in p])\n"
    )
    assert traced == plain


def test_a_users_sitecustomize_still_runs(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text(
        "import sys\nif 'sockfsm' not in sys.orig_argv: print('mine')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    plain, traced = run("import sitecustomize; print(sitecustomize.__file__)")
    assert traced == plain
    assert plain.startswith("mine")


def test_a_method_that_c_calls_has_no_frame_above_it(run: Any) -> None:
    plain, traced = run(
        "import atexit, socket, _thread\n"
        "a, b = socket.socketpair(); c, d = socket.socketpair()\n"
        "_thread.start_new_thread(a.sendall, (b'from C',))\n"
        "print(b.recv(6, socket.MSG_WAITALL))\n"
        "atexit.register(lambda: print(c.fileno()))\n"
        "atexit.register(c.close); atexit.register(d.close); a.close(); b.close()\n"
    )
    assert traced == plain


def test_what_cannot_be_sent_whole_is_sent_whole() -> None:
    """Items are not bytes: a first piece of as many bytes as there are items is not the end."""
    with sockfsm.tracing():
        a, b = socket.socketpair()
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        taken = 0
        a.setblocking(False)
        try:
            while True:
                taken += a.send(bytes(1 << 20))
        except BlockingIOError:
            pass
        first = taken
        b.recv(taken, socket.MSG_WAITALL)
        a.setblocking(True)
        for items in (first // 8, first, first + 1, 1 << 16):
            got: list[int] = []

            def read(size: int, got: list[int] = got) -> None:
                while size:
                    size -= len(b.recv(size))
                got.append(size)

            reader = threading.Thread(target=read, args=(items * 8,))
            reader.start()
            a.sendall(array.array("d", bytes(items * 8)))
            reader.join(PATIENCE)
            assert got == [0]
        a.close()
        b.close()


def test_a_warning_of_c_is_about_the_programs_own_line(run: Any) -> None:
    plain, traced = run(
        "import socket\n"
        "class Yes:\n    def __index__(self): return True\n"
        "a, b = socket.socketpair()\na.send(b'12345678')\n"
        "b.recv(Yes())\nb.recv_into(bytearray(3), Yes())\nb.recvfrom(Yes())\nb.recvmsg(Yes())\n"
        "a.settimeout(Yes())\n"
        "s = socket.socket()\ns.listen(Yes())\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, Yes())\n"
        "for sock in (a, b, s): sock.close()\n"
    )
    assert traced == plain
    assert plain.count("DeprecationWarning") > 4


def test_a_function_of_os_kept_in_a_class_is_no_method(run: Any) -> None:
    plain, traced = run(
        "import inspect, os\n"
        "class Files: remove = os.unlink\n"
        "open('gone', 'w').close(); Files().remove('gone'); print(os.path.exists('gone'))\n"
        "print(inspect.signature(os.unlink), os.remove, os.unlink.__name__)\n"
    )
    assert traced == plain


def test_text_and_bytes_are_never_compared(tmp_path: Path) -> None:
    code = (
        "import socket, sockfsm\n"
        "with sockfsm.tracing():\n"
        "    for name in ('', b'', 'text', b'bytes', '\\0abc', b'\\0abcd', b'text'):\n"
        "        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:\n"
        "            try: sock.bind(name)\n"
        "            except OSError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-bb", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "in use" in done.stdout


def test_a_metaclass_is_not_asked_by_us(run: Any) -> None:
    plain, traced = run(
        """
import os, pathlib, socket

asked = []

class Watching(type):
    def __getattribute__(cls, name):
        asked.append((cls is not None and type.__getattribute__(cls, "__name__"), name))
        return type.__getattribute__(cls, name)

class Socket(socket.socket, metaclass=Watching):
    pass

class Place(metaclass=Watching):
    def __fspath__(self):
        return "absent"

class Refused(OSError, metaclass=Watching):
    pass

class Number(int, metaclass=Watching):
    def __index__(self):
        raise Refused(5, "x")

listening = Socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
client = Socket()
client.connect(listening.getsockname())
data, _ = listening.accept()
asked.clear()
client.connect_ex(listening.getsockname())
client.send(b"x")
data.recv(5)
for function in (os.unlink, os.remove):
    try:
        function(Place())
    except FileNotFoundError:
        pass
asked_in_accept = len(asked)
client2 = Socket()
client2.connect(listening.getsockname())
asked.clear()
listening.accept()[0].close()
print(asked_in_accept, asked)
for sock in (client, client2, listening, data):
    sock.close()
"""
    )
    assert traced == plain
