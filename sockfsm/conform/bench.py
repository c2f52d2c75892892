"""A bench for each kind: the peers of the reference environment, and a fresh socket for each sequence.

The socket under test is non-blocking and has SO_LINGER 0, so that its close() leaves no TIME_WAIT
behind. Peers are renewed before their queues fill. Only loopback and a private folder are used.
"""

from __future__ import annotations

import ctypes
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sockfsm.errors import UsageError
from sockfsm.model.errnos import errno_name

LINGER_ZERO = b"\1\0\0\0\0\0\0\0"
_AF_UNSPEC = bytes(16)
TCP_STATES = (
    *("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
    *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"),
)
"""The number in TCP_INFO -> the TCP state."""
_libc = ctypes.CDLL(None, use_errno=True)

Address = tuple[str, int] | str


def disconnect(sock: socket.socket) -> None:
    """connect() to AF_UNSPEC, which Python's `socket` cannot express."""
    if _libc.connect(sock.fileno(), _AF_UNSPEC, len(_AF_UNSPEC)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def outcome_of(call: Callable[[], object]) -> str:
    """Call it: `ok`, `eof` for b'', or the errno's name."""
    try:
        result = call()
    except TimeoutError as error:
        # Python's own timeout has no errno: the kernel said EAGAIN before Python waited.
        return "EAGAIN" if error.errno is None else errno_name(error.errno)
    except OSError as error:
        if error.errno is None:
            return str(error)
        return errno_name(error.errno)
    return "eof" if result == b"" else "ok"


class Bench:
    """The reference environment of one kind, for one process.

    lane: chooses the loopback address; no other bench may have the same one at the same time.
    UsageError if the kernel refuses sockets, ports or paths.
    """

    family: int = socket.AF_INET
    type: int = socket.SOCK_STREAM
    pythonic = True
    """Whether all calls are methods of Python's sockets, where a tracer sees them."""
    lasts = 400
    """The peers are renewed after so many sequences."""

    def __init__(self, lane: int = 0) -> None:
        self.lane = lane
        self.host = f"127.{80 + lane // 60_000 % 40}.{lane // 250 % 240}.{1 + lane % 250}"
        self._used = 0
        self.peer: socket.socket | None = None

    def open(self) -> None:
        """Set up the peers. UsageError if that is impossible."""
        self.close()
        try:
            self.peer = self.set_up()
        except OSError as error:
            raise UsageError(f"the kernel refuses the bench for {self}: {error}") from error

    def close(self) -> None:
        """Take the peers down."""
        if self.peer is not None:
            self.peer.close()
            self.peer = None
        self._used = 0

    def __enter__(self) -> Bench:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_up(self) -> socket.socket:
        """Make the peer that connect() goes to."""
        peer = socket.socket(self.family, self.type)
        peer.bind(self.fresh())
        if self.type == socket.SOCK_STREAM:
            peer.listen(4096)
        peer.setblocking(False)
        return peer

    def fresh(self) -> Address:
        """A free name for bind()."""
        return (self.host, 0)

    def target(self) -> Address:
        """Where connect() goes."""
        assert self.peer is not None
        address: Address = self.peer.getsockname()
        return address

    def make(self) -> socket.socket:
        """Create the socket under test."""
        sock = socket.socket(self.family, self.type)
        sock.setblocking(False)
        if self.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        return sock

    def run(self, calls: Sequence[str], look: bool = False) -> tuple[list[str], dict[str, object]]:
        """Returns (the outcome of each call, what is seen from outside afterwards, if `look`)."""
        sock = self.begin()
        try:
            outcomes = [self.step(sock, call) for call in calls]
            return outcomes, self.seen(sock) if look else {}
        finally:
            self.dispose(sock)

    def begin(self) -> socket.socket:
        """A fresh socket under test. Renews the peers if their queues have filled."""
        if self._used >= self.lasts:
            self.open()
        self._used += 1
        self.clean()
        return self.make()

    def step(self, sock: socket.socket, call: str) -> str:
        """Make one call, with what the surroundings do before and after it; returns the outcome."""
        self.before(sock, call)
        outcome = outcome_of(self.deed(sock, call))
        self.after(sock, call)
        # Only on a stream is b'' the end; a datagram may be empty.
        return "ok" if outcome == "eof" and self.type == socket.SOCK_DGRAM else outcome

    def tried(self, sock: socket.socket) -> socket.socket:
        """The object to call now, which may not be the first one any more."""
        return sock

    def act_out(self, act: str) -> None:
        """Do what a script asks for between two calls."""
        raise NotImplementedError(act)

    def clean(self) -> None:
        """Called before each sequence: make room at the peer."""

    def before(self, sock: socket.socket, call: str) -> None:
        """What the surroundings do before a call; nothing in the reference environment."""

    def after(self, sock: socket.socket, call: str) -> None:
        """What the surroundings do after a call; nothing in the reference environment."""

    def dispose(self, sock: socket.socket) -> None:
        """Called after each sequence: close the socket."""
        sock.close()

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        """The function that makes the call on the real socket."""
        deeds: dict[str, Callable[[], object]] = {
            "bind": lambda: sock.bind(self.fresh()),
            "listen": lambda: sock.listen(5),
            "accept": lambda: sock.accept()[0].close(),
            "connect": lambda: sock.connect(self.target()),
            "send": lambda: self.send(sock),
            "recv": lambda: sock.recv(16),
            "shutdown_rd": lambda: sock.shutdown(socket.SHUT_RD),
            "shutdown_wr": lambda: sock.shutdown(socket.SHUT_WR),
            "shutdown_rdwr": lambda: sock.shutdown(socket.SHUT_RDWR),
            "disconnect": lambda: disconnect(sock),
            "so_error": lambda: _so_error(sock),
            "close": sock.close,
            "detach": lambda: os.close(number) if (number := sock.detach()) >= 0 else None,
        }
        return deeds[call]

    def send(self, sock: socket.socket) -> object:
        """Send one byte to the peer."""
        return sock.send(b"x")

    def seen(self, sock: socket.socket) -> dict[str, object]:
        """The state as far as it can be seen from outside."""
        if sock.fileno() < 0:
            return {"open": False}
        name = sock.getsockname()
        facts: dict[str, object] = {
            "open": True,
            "named": bool(name[1] if isinstance(name, tuple) else name),
            "connected": outcome_of(sock.getpeername) == "ok",
        }
        if self.type == socket.SOCK_STREAM:
            facts["listening"] = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if self.family != socket.AF_UNIX and self.type == socket.SOCK_STREAM:
            facts["tcp"] = TCP_STATES[sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]
        # Read last, because reading the pending error clears it.
        facts["error"] = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return facts

    def __str__(self) -> str:
        return type(self).__name__


def _so_error(sock: socket.socket) -> None:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


class Six(Bench):
    """Uses IPv6."""

    family = socket.AF_INET6

    def fresh(self) -> Address:
        return ("::1", 0)


class TcpBench(Bench):
    """A live TCP listener that never accepts."""


class UdpBench(Bench):
    """A bound UDP socket, read only between sequences."""

    type = socket.SOCK_DGRAM

    def clean(self) -> None:
        assert self.peer is not None
        while outcome_of(lambda: self.peer and self.peer.recv(16)) == "ok":
            continue

    def supply(self, sock: socket.socket) -> None:
        """Let the peer send a datagram to the socket, if the socket has a name."""
        assert self.peer is not None
        peer, name = self.peer, sock.getsockname()
        if self.family != socket.AF_UNIX and name[0] == "0.0.0.0":
            name = (self.host, name[1])
        if name and name[1]:
            outcome_of(lambda: peer.sendto(b"data", name))


class UnixBench(Bench):
    """A UNIX listener in a private folder, which is removed with the bench."""

    family = socket.AF_UNIX

    def __init__(self, lane: int = 0) -> None:
        super().__init__(lane)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._names = 0
        self._bound: list[str] = []

    def open(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="sockfsm-")
        super().open()
        self._bound.clear()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def set_up(self) -> socket.socket:
        peer = super().set_up()
        # The peer keeps its path when a sequence ends.
        self._bound.pop()
        return peer

    def fresh(self) -> Address:
        assert self._folder is not None
        self._names += 1
        path = f"{self._folder.name}/{self._names}"
        self._bound.append(path)
        return path

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        for path in self._bound:
            Path(path).unlink(missing_ok=True)
        self._bound.clear()


class UnixDatagramBench(UnixBench, UdpBench):
    """A bound UNIX datagram socket, read only between sequences."""

    type = socket.SOCK_DGRAM


BENCHES: dict[str, type[Bench]] = {
    "tcp": TcpBench,
    "udp": UdpBench,
    "unix-stream": UnixBench,
    "unix-dgram": UnixDatagramBench,
}
"""Kind -> the bench of its reference environment."""


def mixed(base: type[Bench], *traits: type[Bench], **how: object) -> type[Bench]:
    """A class of benches with these traits, the first one outermost, and these attributes."""
    if not traits and not how:
        return base
    # A function among the attributes must not become a method.
    ways = {name: staticmethod(way) if callable(way) else way for name, way in how.items()}
    return type("".join(part.__name__ for part in (*traits, base)), (*traits, base), ways)
