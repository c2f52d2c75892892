"""Stages on which something happens while a call sleeps in the kernel."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

from sockfsm.conform.bench import TcpBench, UnixBench, outcome_of
from sockfsm.conform.circumstances import Accepting, reset
from sockfsm.conform.stages import asleep, send_past_python
from sockfsm.conform.worlds import Crowded

PATIENCE = 30  # seconds


def _until_asleep(thread: int, process: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    while not asleep(thread, process) and time.monotonic() < deadline:
        time.sleep(0.001)


class ClosedWhileSending(Accepting, UnixBench):
    """The peer closes with data unread, while send() waits for room."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        deed = super().deed(sock, call)
        return partial(self._sent, sock, deed) if call == "send" else deed

    def _sent(self, sock: socket.socket, deed: Callable[[], object]) -> object:
        while outcome_of(partial(send_past_python, sock, 1 << 16)) == "ok":
            continue
        sock.setblocking(True)
        closer = threading.Thread(target=self._close, args=(threading.get_native_id(),))
        closer.start()
        try:
            return deed()
        finally:
            closer.join()

    def _close(self, sender: int) -> None:
        _until_asleep(sender)
        for end in self.ends:
            end.close()


class ResetWhileConnecting(Crowded, TcpBench):
    """The connection is made and reset while connect() sleeps, with nothing in between."""

    timeout: float | None = None

    def begin(self) -> socket.socket:
        sock = super().begin()
        sock.settimeout(self.timeout)
        return sock

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        deed = super().deed(sock, call)
        return partial(self._connected, sock, deed) if call == "connect" else deed

    def _connected(self, sock: socket.socket, deed: Callable[[], object]) -> object:
        caller, thread = os.getpid(), threading.get_native_id()
        child = os.fork()
        if not child:
            try:
                self._reset(sock, caller, thread)
            finally:
                os.kill(caller, signal.SIGCONT)
                os._exit(0)
        try:
            return deed()
        finally:
            os.waitpid(child, 0)

    def _reset(self, sock: socket.socket, caller: int, thread: int) -> None:
        """Stop the sleeping caller, accept the connection, and reset it."""
        assert self.peer is not None
        _until_asleep(thread, caller)
        os.kill(caller, signal.SIGSTOP)
        name = sock.getsockname()
        self.peer.settimeout(PATIENCE)
        while True:
            end, address = self.peer.accept()
            if address == name:
                reset(end)
                return
