"""Stages of showings: a wire that loses packets, a signal, a path without permission."""

from __future__ import annotations

import _socket
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sockfsm.conform.bench import Bench, TcpBench, UnixBench, UnixDatagramBench, outcome_of
from sockfsm.conform.circumstances import Accepting, ShutsWriting, reset
from sockfsm.conform.rare import as_nobody
from sockfsm.conform.worlds import Crowded
from sockfsm.errors import SockfsmError

_SO_ATTACH_FILTER = 26
_libc = ctypes.CDLL(None, use_errno=True)
_send = _socket.socket.send
_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine, "")


class StageError(SockfsmError):
    """The stage cannot be set up here. The message says why."""


def deafen(sock: socket.socket) -> None:
    """Let a filter drop every packet from now on (BPF: return 0)."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def until_broken(sock: socket.socket) -> None:
    """Wait until the kernel gives up the connection. Must not read SO_ERROR, which would clear it."""
    poll = select.poll()
    poll.register(sock, 0)
    if not poll.poll(30_000):
        raise StageError("the kernel did not give the connection up")


def impatient(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10)
    return sock


class NeverArrives(Accepting, TcpBench):
    """What is sent never arrives, and the kernel gives up soon."""

    def make(self) -> socket.socket:
        return impatient(super().make())

    def treat(self, end: socket.socket) -> None:
        deafen(end)
        super().treat(end)

    def after(self, sock: socket.socket, call: str) -> None:
        super().after(sock, call)
        if call == "send":
            until_broken(sock)


class NeverAnswered(Crowded, TcpBench):
    """No SYN is answered, and the kernel gives up soon."""

    def make(self) -> socket.socket:
        return impatient(super().make())

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and sock.fileno() >= 0:
            until_broken(sock)


class LastFinLost(ShutsWriting, TcpBench):
    """The peer ends, and nothing reaches it any more."""

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "shutdown_wr":
            for end in self.ends:
                deafen(end)


class Listens(TcpBench):
    """The port is shared, and another socket already listens on it at listen()."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "listen":
            self.other = self.make()
            self.other.bind(sock.getsockname())
            self.other.listen()

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        self.other.close()


class BornShut(TcpBench):
    """A data socket of a listening socket that was shut before listen()."""

    how = socket.SHUT_RDWR

    def begin(self) -> socket.socket:
        super().begin().close()
        with socket.socket() as listening:
            listening.bind(self.fresh())
            outcome_of(partial(listening.shutdown, self.how))
            listening.listen()
            self.client = socket.create_connection(listening.getsockname())
            sock = listening.accept()[0]
        self.end()
        return sock

    def end(self) -> None:
        """What the peer does first."""
        self.client.shutdown(socket.SHUT_WR)

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        self.client.close()


class BornShutAlive(BornShut):
    """The same, and the peer stays open."""

    def end(self) -> None:
        """Does nothing."""

    def act_out(self, act: str) -> None:
        """`!reset`: the peer resets."""
        reset(self.client)


class BornHalfShut(BornShutAlive):
    """Only the reading side was shut. recv() reports an end that the peer has not sent."""

    how = socket.SHUT_RD


class UnixAccepted(UnixBench):
    """A data socket, which has the same name as the listening one."""

    def begin(self) -> socket.socket:
        super().begin().close()
        assert self.peer is not None
        with socket.socket(self.family) as client:
            client.connect(self.target())
            return self.peer.accept()[0]


class Caught(Bench):
    """A signal comes when the call sleeps in the kernel, and its handler raises. Main thread only."""

    waits: tuple[str, ...] = ("accept", "recv", "send")

    def begin(self) -> socket.socket:
        sock = super().begin()
        sock.setblocking(True)
        return sock

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        deed = super().deed(sock, call)
        if call not in self.waits:
            return deed
        if call == "send":
            fill = partial(self._fill, sock)
            outcome_of(fill)
            while _in_flight(sock):  # a later acknowledgement would make room again
                outcome_of(fill)
            outcome_of(fill)
        return partial(_caught, deed)

    def _fill(self, sock: socket.socket) -> object:
        while True:
            send_past_python(sock, 1 << 16)


def _in_flight(sock: socket.socket) -> int:
    """Segments that are sent and not acknowledged: `tcpi_unacked`."""
    if sock.family == socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        return 0
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int.from_bytes(info[24:28], sys.byteorder)


def _raise(*_: object) -> None:
    raise InterruptedError(4, "caught")


def _caught(deed: Callable[[], object]) -> object:
    before = signal.signal(signal.SIGUSR1, _raise)
    over = threading.Event()
    shaker = threading.Thread(target=_shake, args=(threading.main_thread(), over))
    shaker.start()
    try:
        return deed()
    finally:
        over.set()
        shaker.join()
        signal.signal(signal.SIGUSR1, before)


def _shake(thread: threading.Thread, over: threading.Event) -> None:
    """Send the signal when the thread sleeps in a system call."""
    while not over.wait(0.001):
        if asleep(thread.native_id or 0):
            signal.pthread_kill(thread.ident or 0, signal.SIGUSR1)
            return


def asleep(thread: int, process: int = 0) -> bool:
    """Whether the thread sleeps in the kernel, and not for the interpreter lock."""
    task = Path(f"/proc/{process or 'self'}/task/{thread}")
    state = (task / "stat").read_text().rsplit(") ", 1)[1][0]
    call = (task / "syscall").read_text().split()[0]
    return state == "S" and call.isdigit() and call != _FUTEX


def send_past_python(sock: socket.socket, size: int) -> object:
    """Fill a buffer without waiting, unseen by a tracer."""
    return _send(sock, bytes(size), socket.MSG_DONTWAIT)


class Engaged(UnixDatagramBench):
    """The peer is connected to another socket, and takes nothing from ours."""

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        self.other = socket.socket(self.family, self.type)
        self.other.bind(f"\0sockfsm {os.getpid()} {id(self)}")
        peer.connect(self.other.getsockname())
        self._bound.clear()
        return peer

    def close(self) -> None:
        if self.peer is not None:
            self.other.close()
        super().close()

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(b"x", self.target())


class Turned(UnixDatagramBench):
    """The peer connects to another socket after ours has connected to it."""

    def turn(self) -> None:
        assert self.peer is not None
        with socket.socket(self.family, self.type) as other:
            other.bind("")
            self.peer.connect(other.getsockname())

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and self.peer is not None:
            self.turn()


class Leaves(Turned):
    """The peer was connected to our socket, and then connects to another one."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "send" and self.peer is not None:
            self.peer.connect(sock.getsockname())
            self.turn()


class Placed(UnixBench):
    """bind(), connect() and sendto() get the path `place` in the bench's folder."""

    place = ""

    def open(self) -> None:
        super().open()
        assert self._folder is not None
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        (folder / "loop").symlink_to("loop")
        (folder / "long").symlink_to("x" * 256)
        (folder / "file").touch()
        (folder / "closed").mkdir(mode=0)

    def there(self) -> str:
        assert self._folder is not None
        return str(Path(self._folder.name) / self.place)

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        deeds = {
            "bind": lambda: sock.bind(self.there()),
            "connect": lambda: sock.connect(self.there()),
            "send": lambda: sock.sendto(b"x", self.there()),
        }
        return deeds.get(call) or super().deed(sock, call)


class Nobody(Bench):
    """The calls are made as the user `nobody`, because root may open everything."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        return as_nobody(super().deed(sock, call))


class Addressed(Bench):
    """Addresses that Python cannot make: of another family, too short, or too long."""

    how = ""
    pythonic = False

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        stranger = socket.AF_UNIX if self.family != socket.AF_UNIX else socket.AF_INET
        family = struct.pack("H", stranger if self.how == "family" else self.family)
        address = family + {"family": b"/x" + bytes(26), "long": b"/x" * 99}.get(self.how, b"")
        number, size = sock.fileno(), len(address)
        deeds = {
            "bind": lambda: _checked(_libc.bind(number, address, size)),
            "connect": lambda: _checked(_libc.connect(number, address, size)),
            "send": lambda: _checked(_libc.sendto(number, b"x", 1, 0, address, size)),
        }
        return deeds.get(call) or super().deed(sock, call)


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Heavy(Bench):
    """The control data is larger than the kernel allows (net.core.optmem_max)."""

    def send(self, sock: socket.socket) -> object:
        most = int(Path("/proc/sys/net/core/optmem_max").read_text())
        return sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(2 * most))])


class LostPatient(Crowded, TcpBench):
    """Python waits, with a timeout, until the kernel gives up."""

    def begin(self) -> socket.socket:
        sock = impatient(super().begin())
        sock.settimeout(30)
        return sock
