"""Rare environments: nothing left, no permission, too large, too slow."""

from __future__ import annotations

import _socket
import os
import resource
import socket
from collections.abc import Callable
from functools import partial

from sockfsm.conform.bench import Address, Bench, UnixBench, outcome_of
from sockfsm.conform.methods import RECEIVE, SEND

NOBODY = 65534
_send = _socket.socket.send
_SENT_WITH = socket.MSG_OOB | socket.MSG_DONTWAIT
"""Flags that a sender may use as well."""


class Privileged(Bench):
    """bind() asks for a port below 1024, which the user `nobody` may not have."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "bind":
            return as_nobody(lambda: sock.bind((self.host, 1)))
        return super().deed(sock, call)


def as_nobody(deed: Callable[[], object]) -> Callable[[], object]:
    def lowly() -> object:
        own = os.geteuid()
        if own:
            return deed()
        os.seteuid(NOBODY)
        try:
            return deed()
        finally:
            os.seteuid(own)

    return lowly


class Descriptors(Bench):
    """No descriptor is left when accept() needs one."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        deed = super().deed(sock, call)
        return without_descriptors(deed) if call == "accept" else deed


def without_descriptors(deed: Callable[[], object]) -> Callable[[], object]:
    def poor() -> object:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            return deed()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return poor


class Big(Bench):
    """Every datagram is larger than the protocol allows."""

    def send(self, sock: socket.socket) -> object:
        return sock.send(bytes(1 << 20))


class Full(Bench):
    """The peer never reads, and the buffers are full."""

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect" and sock.fileno() >= 0:
            # Not by Python's own class: this is no part of the sequence, so a tracer must not see it.
            while outcome_of(lambda: _send(sock, bytes(1 << 20), socket.MSG_DONTWAIT)) == "ok":
                continue


class Using(Bench):
    """Sends and receives with this method, these flags and so many bytes."""

    receives = staticmethod(RECEIVE["recv"])
    sends = staticmethod(SEND["send"])
    flags = 0
    size = 16

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "recv":
            return lambda: self.receives(sock, self.size, self.flags)
        return super().deed(sock, call)

    def step(self, sock: socket.socket, call: str) -> str:
        outcome = super().step(sock, call)
        return "ok" if call == "recv" and outcome == "eof" and not self.size else outcome

    def send(self, sock: socket.socket) -> object:
        return self.sends(sock, b"x", self.flags & _SENT_WITH, self.target())


class Auto(UnixBench):
    """bind() leaves the name to the kernel."""

    def fresh(self) -> Address:
        return "" if self.peer is not None else super().fresh()


class Abstract(UnixBench):
    """bind() gives a name that appears in no file system."""

    def fresh(self) -> Address:
        path = super().fresh()
        return f"\0{path}" if self.peer is not None else path


class GivesUp(Bench):
    """The socket blocks, and the kernel gives up soon."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10)
        return sock


class Twice(Bench):
    """Two descriptors of one socket, used in turn."""

    def begin(self) -> socket.socket:
        self.turns, sock = 0, super().begin()
        self.twin = sock.dup()
        return sock

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        self.turns += 1
        return super().deed(self.twin if self.turns % 2 else sock, call)

    def dispose(self, sock: socket.socket) -> None:
        self.twin.close()
        super().dispose(sock)


class Asking(Bench):
    """connect() is connect_ex(), which returns errors."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        return partial(_connect_ex, sock, self) if call == "connect" else super().deed(sock, call)


def _connect_ex(sock: socket.socket, bench: Bench) -> None:
    number = sock.connect_ex(bench.target())
    if number:
        raise OSError(number, os.strerror(number))


class FastOpen(Bench):
    """connect() is a sendto() with MSG_FASTOPEN, without a cookie."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "connect":
            return lambda: sock.sendto(b"x", socket.MSG_FASTOPEN, self.target())
        return super().deed(sock, call)


class Data(Bench):
    """A data socket that accept() made."""

    def begin(self) -> socket.socket:
        super().begin().close()
        assert self.peer is not None
        self.client = self.make()
        outcome_of(lambda: self.client.connect(self.target()))
        while True:  # clients of earlier sequences, closed since, are still in the queue
            sock, address = self.peer.accept()
            if self.family == socket.AF_UNIX or address == self.client.getsockname():
                sock.setblocking(False)
                return sock
            sock.close()

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        self.client.close()


class Pair(Bench):
    """One end of a socketpair()."""

    def begin(self) -> socket.socket:
        super().begin().close()
        sock, self.other = socket.socketpair(self.family, self.type)
        sock.setblocking(False)
        return sock

    def act_out(self, act: str) -> None:
        """`!peer_sends`: the other end sends."""
        outcome_of(lambda: self.other.send(b"data"))

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(sock)
        self.other.close()
