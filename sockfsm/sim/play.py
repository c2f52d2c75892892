"""The same scenario with real sockets: a thread for each actor.

On loopback addresses of its own, or where `wires.py` has made the hosts and the network between them.
Who is still blocked when nothing has moved for a while is taken for blocked for ever.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from sockfsm import tcp_names as tcp
from sockfsm.model.errnos import errno_name
from sockfsm.sim.scenario import Actor, Scenario, Step
from sockfsm.sim.wires import Alone

_STALL = 1.0
"""Seconds without a call's end, beyond what the scenario itself waits, that mean a deadlock."""
_REPEATED = 7.0
"""... where packets are lost: three repetitions of a SYN."""
_FAMILIES = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}
_HOW = {
    "shutdown_rd": socket.SHUT_RD,
    "shutdown_wr": socket.SHUT_WR,
    "shutdown_rdwr": socket.SHUT_RDWR,
}

_KERNEL = (
    *("", tcp.ESTABLISHED, tcp.SYN_SENT, tcp.SYN_RECEIVED, tcp.FIN_WAIT_1, tcp.FIN_WAIT_2),
    *(tcp.TIME_WAIT, tcp.CLOSED, tcp.CLOSE_WAIT, tcp.LAST_ACK, tcp.LISTEN, tcp.CLOSING),
)
"""TCP's states by the number that TCP_INFO gives."""


class Ended(NamedTuple):
    """How a call ended. line: its step's. value: what recv() gave. lasted: ns.

    look: what could be seen of the socket afterwards, by names that `conform.expect` has.
    """

    line: int
    outcome: str
    value: bytes | None
    lasted: int
    look: dict[str, object]


@dataclass
class Played:
    """ended: actor -> its calls in order. blocked: actor -> the line of the call that never ended.

    until: monotonic ns at which they were given up; what they did later does not count.
    """

    ended: dict[str, list[Ended]] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    until: int = 0


def play(scenario: Scenario, stage: Alone | None = None) -> Played:
    """Play it, in namespaces of its own where there are any."""
    with tempfile.TemporaryDirectory(prefix="sockfsm-play-") as folder:
        return _Stage(scenario, folder, stage).run()


class _Stage:
    def __init__(self, scenario: Scenario, folder: str, stage: Alone | None) -> None:
        self._scenario = scenario
        self._folder = folder
        self._stage = stage
        numbers = os.urandom(2)
        # The kernel remembers ports in TIME_WAIT by address: each run has addresses of its own.
        hosts = dict.fromkeys(actor.host for actor in scenario.actors)
        self._hosts = {
            host: f"127.{64 + numbers[0] % 128}.{numbers[1]}.{place + 1}"
            for place, host in enumerate(hosts)
            if stage is None and ":" not in host
        }
        actors = (actor for actor in scenario.actors if ":" in actor.host)
        self._six = {step.line for actor in actors for step in actor.steps}
        steps = [step for actor in scenario.actors for step in actor.steps]
        self._marks = {step.name: threading.Event() for step in steps if step.verb == "mark"}
        spans = sum((step.span or 0) + (step.blocks or 0) for step in steps)
        network = scenario.network
        self._patience = _STALL + spans / 1e9 + 20 * (network.latency + network.jitter) / 1e9
        if network.loss or network.drops:
            self._patience += _REPEATED
        self._errors: list[Exception] = []
        self._played = Played({actor.name: [] for actor in scenario.actors})
        self._sockets: list[socket.socket] = []
        self._lines: dict[str, int] = {}
        self._over = False
        self._ended = time.monotonic()

    def run(self) -> Played:
        threads = [
            threading.Thread(target=self._perform, args=(actor,), name=actor.name, daemon=True)
            for actor in self._scenario.actors
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if time.monotonic() - self._ended > self._patience:
                break
            for thread in threads:
                thread.join(0.005)
        self._played.until = time.monotonic_ns()
        self._over = True
        alive = [thread.name for thread in threads if thread.is_alive()]
        self._played.blocked = {name: self._lines.get(name, 0) for name in alive}
        self._free()
        for thread in threads:
            thread.join()
        for sock in self._sockets:
            _socket.socket.close(sock)
        for error in self._errors:
            raise error
        return self._played

    def _free(self) -> None:
        """End the calls that still wait, by the C method: the trace is not to show it."""
        for event in self._marks.values():
            event.set()
        for sock in list(self._sockets):
            if sock.fileno() >= 0:
                try:
                    _socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError as error:
                    if error.errno not in (errno.ENOTCONN, errno.EBADF, errno.EINVAL):
                        raise

    def _perform(self, actor: Actor) -> None:
        if self._stage is not None:
            self._stage.stand(actor.host)
        sockets: dict[str, socket.socket] = {}
        try:
            self._act(actor, sockets)
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._errors.append(error)
        if not self._over:
            # The program's end closes what it left open, by the C method: no call of its own.
            for sock in sockets.values():
                _socket.socket.close(sock)

    def _act(self, actor: Actor, sockets: dict[str, socket.socket]) -> None:
        for step in actor.steps:
            if self._over:
                return
            self._lines[actor.name] = step.line
            if step.verb == "mark":
                self._marks[step.name].set()
            elif step.verb == "after":
                self._marks[step.name].wait()
            elif step.verb == "wait":
                time.sleep((step.span or 0) / 1e9)
            elif step.verb == "dup":
                if step.option in sockets and sockets[step.option].fileno() >= 0:
                    sockets[step.name] = self._keep(sockets[step.option].dup())
            elif step.verb not in ("unlink", "socket") and step.name not in sockets:
                continue
            elif step.verb in ("timeout", "set") and sockets[step.name].fileno() < 0:
                continue  # closed: there is nothing to set
            elif step.verb == "timeout":
                sockets[step.name].settimeout(None if step.span is None else step.span / 1e9)
            elif step.verb == "set":
                _set(sockets[step.name], step)
            else:
                begun = time.monotonic_ns()
                outcome, value = self._call(sockets, step)
                lasted = time.monotonic_ns() - begun
                if self._over:
                    return
                self._ended = time.monotonic()
                seen = look(sockets[step.name]) if step.name in sockets else {}
                ended = Ended(step.line, outcome, value, lasted, seen)
                self._played.ended[actor.name].append(ended)

    def _call(self, sockets: dict[str, socket.socket], step: Step) -> tuple[str, bytes | None]:
        try:
            if step.verb == "socket":
                family, type = _FAMILIES[step.kind]
                if family == socket.AF_INET and step.line in self._six:
                    family = socket.AF_INET6
                sockets[step.name] = self._keep(socket.socket(family, type))
                return "ok", None
            if step.verb == "unlink":
                os.unlink(str(self._address(step.address)))
                return "ok", None
            return self._asked(sockets, step)
        except TimeoutError as error:
            return ("timeout" if error.errno is None else errno_name(error.errno)), None
        except OSError as error:
            return errno_name(error.errno or 0), None

    def _asked(self, sockets: dict[str, socket.socket], step: Step) -> tuple[str, bytes | None]:
        sock, address = sockets[step.name], self._address(step.address)
        if step.verb == "recv":
            data = sock.recv(step.size)
            stream = sock.type == socket.SOCK_STREAM
            return ("eof" if stream and not data and step.size else "ok"), data
        if step.verb == "accept":
            made = self._keep(sock.accept()[0])
            if step.made:
                sockets[step.made] = made
            return "ok", None
        if step.word == "so_error":
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return (errno_name(number) if number else "ok"), None
        deeds: dict[str, Callable[[], object]] = {
            "bind": lambda: sock.bind(address),
            "listen": lambda: sock.listen(step.size),
            "connect": lambda: sock.connect(address),
            "send": lambda: sock.send(step.data),
            "sendall": lambda: sock.sendall(step.data),
            "sendto": lambda: sock.sendto(step.data, address),
            "shutdown": lambda: sock.shutdown(_HOW[step.word]),
            "close": sock.close,
            "disconnect": lambda: _disconnect(sock),
        }
        deeds[step.verb]()
        return "ok", None

    def _keep(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        return sock

    def _address(self, address: tuple[str, int] | str | None) -> tuple[str, int] | str:
        if isinstance(address, str):
            return os.path.join(self._folder, address.lstrip("/").replace("/", "-"))
        host, port = address or ("", 0)
        return self._hosts.get(host, host), port


def look(sock: socket.socket) -> dict[str, object]:
    """What can be seen of a socket, by C methods: no tracer hears of it."""
    real = _socket.socket
    if real.fileno(sock) < 0:
        return {"open": False}
    name = real.getsockname(sock)
    connected = False
    with suppress(OSError):
        real.getpeername(sock)
        connected = True
    facts: dict[str, object] = {
        "open": True,
        "named": bool(name[1] if isinstance(name, tuple) else name),
        "connected": connected,
    }
    if sock.type == socket.SOCK_STREAM:
        number = real.getsockopt(sock, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        facts["listening"] = bool(number)
        if sock.family != socket.AF_UNIX:
            info = real.getsockopt(sock, socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            facts["tcp"] = _KERNEL[info[0]]
    return facts


_AF_UNSPEC = bytes(16)


def _disconnect(sock: socket.socket) -> None:
    """connect() to AF_UNSPEC, which Python's socket has no way to say."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(sock.fileno(), _AF_UNSPEC, len(_AF_UNSPEC)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _set(sock: socket.socket, step: Step) -> None:
    number = step.size
    level, option = {
        "reuse": (socket.SOL_SOCKET, socket.SO_REUSEADDR),
        "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "linger": (socket.SOL_SOCKET, socket.SO_LINGER),
        "rcvbuf": (socket.SOL_SOCKET, socket.SO_RCVBUF),
        "sndbuf": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    }[step.option]
    if step.option == "keepalive" and number:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, number)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, min(number, 75))
        number = 1
    value = struct.pack("ii", 1, number) if step.option == "linger" else number or 1
    sock.setsockopt(level, option, value)
