"""The same scenario with real sockets: a thread for each actor, on a loopback address of its own.

There is no network to lose packets here, so a scenario with one is not played. Who is still blocked
when nothing has moved for a while is taken for blocked for ever.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sockfsm.errors import UsageError
from sockfsm.model.errnos import errno_name
from sockfsm.sim.network import Rules
from sockfsm.sim.scenario import Actor, Scenario, Step

_STALL = 1.0
"""Seconds without a call's end, beyond what the scenario itself waits, that mean a deadlock."""
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
_UNPLAYED = ("dup", "disconnect")


@dataclass
class Played:
    """outcomes: actor -> (line, outcome, what recv gave) in order. blocked: actors that stayed so.

    until: monotonic ns at which they were given up; what they did later does not count.
    """

    outcomes: dict[str, list[tuple[int, str, bytes | None]]] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    until: int = 0


def check(scenario: Scenario) -> None:
    """UsageError for a scenario that real sockets on one machine cannot play."""
    if scenario.network != Rules():
        raise UsageError(f"{scenario.file}: has a network of its own: it can only be simulated")
    for actor in scenario.actors:
        for step in actor.steps:
            if step.verb in _UNPLAYED:
                raise UsageError(
                    f"{scenario.file}:{step.line}: {step.verb} can only be simulated so far"
                )


def play(scenario: Scenario) -> Played:
    """Play it. UsageError where it cannot be."""
    check(scenario)
    with tempfile.TemporaryDirectory(prefix="sockfsm-play-") as folder:
        return _Stage(scenario, folder).run()


class _Stage:
    def __init__(self, scenario: Scenario, folder: str) -> None:
        self._scenario = scenario
        self._folder = folder
        numbers = os.urandom(2)
        # The kernel remembers ports in TIME_WAIT by address: each run has addresses of its own.
        hosts = dict.fromkeys(actor.host for actor in scenario.actors)
        self._hosts = {
            host: f"127.{64 + numbers[0] % 128}.{numbers[1]}.{place + 1}"
            for place, host in enumerate(hosts)
        }
        steps = [step for actor in scenario.actors for step in actor.steps]
        self._marks = {step.name: threading.Event() for step in steps if step.verb == "mark"}
        self._patience = _STALL + sum(step.span or 0 for step in steps) / 1e9
        self._played = Played({actor.name: [] for actor in scenario.actors})
        self._sockets: list[socket.socket] = []
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
        self._played.blocked = [thread.name for thread in threads if thread.is_alive()]
        self._free()
        for thread in threads:
            thread.join()
        for sock in self._sockets:
            sock.close()
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
                    if error.errno not in (errno.ENOTCONN, errno.EBADF):
                        raise

    def _perform(self, actor: Actor) -> None:
        sockets: dict[str, socket.socket] = {}
        self._act(actor, sockets)
        if not self._over:
            # The program's end closes what it left open, by the C method: no call of its own.
            for sock in sockets.values():
                _socket.socket.close(sock)

    def _act(self, actor: Actor, sockets: dict[str, socket.socket]) -> None:
        for step in actor.steps:
            if self._over:
                return
            if step.verb == "mark":
                self._marks[step.name].set()
            elif step.verb == "after":
                self._marks[step.name].wait()
            elif step.verb == "wait":
                time.sleep((step.span or 0) / 1e9)
            elif step.verb != "unlink" and step.verb != "socket" and step.name not in sockets:
                continue
            elif step.verb in ("timeout", "set") and sockets[step.name].fileno() < 0:
                continue  # closed: there is nothing to set
            elif step.verb == "timeout":
                sockets[step.name].settimeout(None if step.span is None else step.span / 1e9)
            elif step.verb == "set":
                _set(sockets[step.name], step.option)
            else:
                outcome, value = self._call(sockets, step)
                if self._over:
                    return
                self._ended = time.monotonic()
                self._played.outcomes[actor.name].append((step.line, outcome, value))

    def _call(self, sockets: dict[str, socket.socket], step: Step) -> tuple[str, bytes | None]:
        try:
            if step.verb == "socket":
                sockets[step.name] = self._keep(socket.socket(*_FAMILIES[step.kind]))
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


def _set(sock: socket.socket, option: str) -> None:
    if option == "reuse":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    elif option == "nodelay":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
