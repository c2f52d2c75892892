"""One allocation fails, whichever it is: what the kernel has done is told all the same."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sockfsm

memory = pytest.importorskip("_testcapi")
# Some interpreters (3.12.1 and 3.13.0 among them) crash by themselves for want of memory.
PLAIN = """
import _testcapi
def text(a):
    return f"{a[0]}:{a[1]}" if type(a) is tuple and len(a) == 2 else str(a)
def shown(a):
    return {text(a): [x for x in (1, 2, 3)]}
class Two:
    __slots__ = ("a", "b")
    def __init__(self, a, b):
        self.a, self.b = a, b
def deep(n):
    return deep(n - 1) if n else shown(("127.0.0.1", 80))
def go():
    try:
        return Two(deep(3), (lambda *a, **k: (a, k))(1, 2, x=3))
    except MemoryError:
        return shown(("h", 5))
for n in [*range(150)] * 20:
    _testcapi.set_nomemory(n, n + 1)
    try:
        go()
    except BaseException:
        pass
    finally:
        _testcapi.remove_mem_hooks()
"""
if subprocess.run([sys.executable, "-I", "-c", PLAIN], capture_output=True).returncode < 0:
    pytest.skip("plain Python crashes for want of memory", allow_module_level=True)
# The evaluation loop of 3.10 may lose a MemoryError: "returned NULL without setting an exception".
NO_MEMORY = (MemoryError, SystemError) if sys.version_info < (3, 11) else (MemoryError,)
Case = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], bool]]
"""(what makes a stage, the call, whether it was done)."""


def failing(case: Case) -> tuple[int, list[object]]:
    """(how often the call was refused for want of memory, what was done and yet not told)."""
    make, call, done = case
    refused, wrong = 0, list[object]()
    for place in range(150):
        stage, error = make(), None
        # What others hang on to a collection (hypothesis does) would be short of memory, too.
        gc.disable()
        memory.set_nomemory(place, place + 1)
        try:
            call(stage)
        except BaseException as raised:  # noqa: BLE001 - judged below
            error = raised
        finally:
            memory.remove_mem_hooks()
            gc.enable()
        refused += isinstance(error, NO_MEMORY)
        if done(stage) != (error is None) or not (error is None or isinstance(error, NO_MEMORY)):
            wrong.append((place, error))
    return refused, wrong


def closed(*socks: socket.socket) -> None:
    for sock in socks:
        sock.close()


def cases(path: Path) -> dict[str, Case]:
    def bound() -> socket.socket:
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        return sock

    def unlinked(sock: socket.socket) -> bool:
        sock.close()
        return not path.exists()

    def sent(pair: tuple[socket.socket, socket.socket]) -> bool:
        with contextlib.suppress(BlockingIOError):
            pair[1].setblocking(False)
            got = pair[1].recv(5)
            closed(*pair)
            return got == b"x"
        closed(*pair)
        return False

    def loaded() -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        pair[1].send(b"x")
        pair[0].setblocking(False)
        return pair

    def emptied(pair: tuple[socket.socket, socket.socket]) -> bool:
        try:
            return not pair[0].recv(5)
        except BlockingIOError:
            return True
        finally:
            closed(*pair)

    def shut(pair: tuple[socket.socket, socket.socket]) -> bool:
        pair[1].setblocking(False)
        try:
            return pair[1].recv(5) == b""
        except BlockingIOError:
            return False
        finally:
            closed(*pair)

    def listening(sock: socket.socket) -> bool:
        with sock:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def two() -> tuple[socket.socket, ...]:
        return (*socket.socketpair(), *socket.socketpair())

    def same(four: tuple[socket.socket, ...]) -> bool:
        first, second = (os.fstat(four[i].fileno()).st_ino for i in (0, 2))
        closed(*four)
        return first == second

    text, brief = str(path), socket.socketpair
    return {
        "unlink": (bound, lambda _: os.unlink(text), unlinked),
        "remove": (bound, lambda _: os.remove(text.encode()), unlinked),
        "unlink by name": (bound, lambda _: os.unlink(path=text), unlinked),
        "unlink in a folder": (bound, lambda _: os.unlink(text, dir_fd=None), unlinked),
        "dup2": (two, lambda four: os.dup2(four[2].fileno(), four[0].fileno()), same),
        "send": (brief, lambda pair: pair[0].send(b"x"), sent),
        "sendall": (brief, lambda pair: pair[0].sendall(b"x"), sent),
        "sendmsg": (brief, lambda pair: pair[0].sendmsg([b"x"]), sent),
        "recv_into": (loaded, lambda pair: pair[0].recv_into(bytearray(5)), emptied),
        "shutdown": (brief, lambda pair: pair[0].shutdown(socket.SHUT_WR), shut),
        "listen": (socket.socket, lambda sock: sock.listen(), listening),
    }


NAMES = list(cases(Path()))
FUNCTIONS = {"unlink", "remove", "unlink by name", "unlink in a folder", "dup2"}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_done_is_told(name: str, tmp_path: Path) -> None:
    case = cases(tmp_path / "x")[name]
    plain = failing(case)
    with sockfsm.tracing():
        refused, wrong = failing(case)
    assert wrong == plain[1] == []
    if name in FUNCTIONS:
        assert refused <= plain[0] + 3  # Python's own, before a function of ours has begun
