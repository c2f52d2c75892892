"""Runs the demo's servers and clients, each in a thread of its own, under `sockfsm.tracing`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import sockfsm
from sockfsm.demo import tcp_echo, udp_echo, unix_echo, wrong_order

_PATIENCE = 20.0


class _Actor(threading.Thread):
    """A thread that runs a function and keeps what it returned or raised."""

    def __init__(self, name: str, function: Callable[..., object], *arguments: object) -> None:
        super().__init__(name=name, daemon=True)
        self._function = function
        self._arguments = arguments
        self._result: object = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Run the function."""
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the result
            self._error = error

    def result(self) -> Any:
        """What the function returned; or raise what it raised. RuntimeError if it does not end."""
        self.join(_PATIENCE)
        if self._error is not None:
            raise self._error
        if self.is_alive():
            raise RuntimeError(f"{self.name} is still blocked after {_PATIENCE:.0f} s")
        return self._result


def _served(name: str, server: Callable[..., object], *arguments: object) -> tuple[_Actor, Any]:
    """Start a server and wait until it is ready: (its thread, its port or None)."""
    ready: SimpleQueue[object] = SimpleQueue()
    actor = _Actor(name, server, *arguments, lambda *port: ready.put(port[0] if port else None))
    while True:
        try:
            return actor, ready.get(timeout=0.2)
        # A server that has failed will never be ready: show its error instead of waiting.
        except Empty:
            if not actor.is_alive():
                actor.result()
                raise RuntimeError(f"{name} ended before it was ready") from None


def record(folder: Path) -> None:
    """Run all programs and write their trace to `folder`. SockfsmError if it cannot be written."""
    with sockfsm.tracing(folder, capture=True):
        play_tcp()
        play_udp()
        play_unix()
        wrong_order.mistakes()


def play_tcp() -> None:
    """Run a TCP echo. The client finds the server at the last of the addresses that it tries."""
    server, port = _served("tcp server", tcp_echo.server)
    client = _Actor("tcp client", tcp_echo.client, port, b"Hello over TCP")
    _expect(client.result(), b"Hello over TCP")
    server.result()


def play_udp() -> None:
    """Run a UDP echo, twice."""
    server, port = _served("udp server", udp_echo.server)
    client = _Actor("udp client", udp_echo.client, port, b"Hello over UDP")
    _expect(client.result(), (b"Hello over UDP", b"Hello over UDP"))
    server.result()


def play_unix() -> None:
    """Run a UNIX stream echo, at a path where a crashed server has left its name."""
    with TemporaryDirectory(prefix="sockfsm-") as folder:
        path = os.path.join(folder, "echo.sock")
        unix_echo.crash(path)
        server, _ = _served("unix server", unix_echo.server, path)
        client = _Actor("unix client", unix_echo.client, path, b"Hello over UNIX")
        _expect(client.result(), b"HELLO OVER UNIX")
        server.result()


def _expect(answer: object, expected: object) -> None:
    if answer != expected:
        raise RuntimeError(f"the echo came back as {answer!r}, not {expected!r}")


def lesson() -> str:
    """The error message that a program gets in enforce mode for its first mistake."""
    with sockfsm.tracing(mode="enforce"):
        errors = wrong_order.mistakes()
    return str(errors[0].strerror or errors[0])
