"""Surroundings that lack rights, descriptors, memory, disk."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import tempfile

from lives import NOBODY, lives, opened, say, tcp, tried


def chroot() -> None:
    folder = tempfile.mkdtemp()
    os.chroot(folder)
    os.chdir("/")
    lives("chroot")


def nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    lives("nobody")


def real_nobody() -> None:
    tcp("root")
    os.setresuid(NOBODY, NOBODY, 0)
    lives("nobody for now")
    os.setresuid(0, 0, 0)
    lives("root again")


def few_files() -> None:
    low = max(int(name) for name in os.listdir("/proc/self/fd") if int(name) < 200) + 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    opened("before")
    for room in (0, 1, 2, 3, 4, 8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (low - 1 + room, hard))
        lives(f"room for {room}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lives("room for all")
    opened("after")


def no_files_until_import() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    for call in (socket.socket, socket.socketpair):
        tried(f"none {call.__name__}", call)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    lives("some")


def small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for number in range(3):
        lives(f"turn {number}")
    one, two = socket.socketpair()
    for _ in range(20_000):
        one.send(b"x")
        two.recv(1)
    say("many", "sent")


def small_files_deadly() -> None:
    """Without a handler: a write to a log beyond the limit would kill the program."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    one, two = socket.socketpair()
    for _ in range(20_000):
        one.send(b"x")
        two.recv(1)
    say("many", "sent")
    lives("after")


def little_memory() -> None:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * 4096 + (1 << 16)
    resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
    kept = []
    with contextlib.suppress(MemoryError):
        while True:
            kept.append(bytearray(1 << 12))
    # Room for four of Python's arenas: a tracer needs some memory too, and may have no more.
    resource.setrlimit(resource.RLIMIT_AS, (limit + (4 << 20), -1))
    for turn in range(4):
        lives(f"turn {turn}")
    one, two = socket.socketpair()
    for _ in range(20_000):
        one.send(b"x")
        two.recv(1)
    say("many", "sent")


def all_closed() -> None:
    os.closerange(3, 256)
    lives("closed")
    opened("closed")


def standard_closed() -> None:
    out = os.dup(1)
    os.dup2(out, 200)
    for number in (*range(100), out):
        with contextlib.suppress(OSError):
            os.close(number)
    made = [socket.socket() for _ in range(5)]
    numbers = [each.fileno() for each in made]
    one, two = socket.socketpair()
    for _ in range(3000):
        one.send(b"x")
        two.recv(1)
    os.dup2(200, 1)
    say("numbers", numbers)
    say("pair", (one.fileno(), two.fileno()))


def standard_error_is_a_socket() -> None:
    one, two = socket.socketpair()
    os.dup2(one.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for _ in range(20_000):
        one.send(b"x")
        two.recv(1)
    lives("error")
    two.setblocking(False)
    tried("what came", lambda: say("data", two.recv(99)))


def logs_removed() -> None:
    folder = os.environ.get("SOCKFSM_TRACE")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    lives("removed")
    pid = os.fork()
    if not pid:
        lives("child")
        os._exit(3)
    say("status", os.waitpid(pid, 0)[1])


def full_disk() -> None:
    """What is open is a file on a full disk: every write fails, every mapping is a bus error."""
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            place = os.readlink(f"/proc/self/fd/{number}")
            if place.endswith(".calls"):
                os.dup2(os.open("/dev/full", os.O_RDWR), number)
    lives("full")


def native() -> None:
    """Descriptors that C code takes and gives under our feet."""
    libc = ctypes.CDLL(None, use_errno=True)
    one, two = socket.socketpair()
    libc.close(one.fileno())
    tried("closed by C", one.send, b"x")
    again = socket.socket()
    say("its number again", again.fileno() == one.fileno())
    tried("close", one.close)
    tried("again", again.getsockname)
    with contextlib.suppress(OSError):
        again.detach()
    three, four = socket.socketpair()
    os.dup2(three.fileno(), two.fileno())
    say("dup2", (two.send(b"through three"), four.recv(99)))
    for each in (two, three, four):
        each.close()
    lives("after")
