"""Sockets on the virtual kernel, one call after the other in virtual time, in place of `socket`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from sockfsm import tcp_names as tcp
from sockfsm.conform import bench, circumstances, rare, worlds
from sockfsm.events import Process, Socket
from sockfsm.model.errnos import errno_number
from sockfsm.sim.clock import START, Clock
from sockfsm.sim.kernel import Kernel
from sockfsm.sim.names import ANY
from sockfsm.sim.network import Rules
from sockfsm.sim.run import COST
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

KINDS = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix-stream",
    (socket.AF_UNIX, socket.SOCK_DGRAM): "unix-dgram",
}
_HOW = {
    socket.SHUT_RD: "shutdown_rd",
    socket.SHUT_WR: "shutdown_wr",
    socket.SHUT_RDWR: "shutdown_rdwr",
}


class World:
    """A virtual kernel, and the sockets that one process has on it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.process = Process(1, 0, "1-0.calls", (), 0, START, name="1")
        self.kernel = Kernel(
            self.clock, Random(0), Rules(), lambda sock: None,
            lambda sock: self.made(sock.kind, sock.event.family, "accepted", sock.host),
        )  # fmt: skip
        self.numbers = 2

    def made(self, kind: str, family: int, born: str, host: str) -> VirtualSocket:
        event = Socket("1.1", 1, self.process, kind, family, 0, 0, 3, born, None)
        return VirtualSocket(kind, event, host, born)

    def settle(self, span: int = COST) -> None:
        """Let what was sent arrive, as on loopback."""
        until = self.clock.now + span
        while self.clock.step(until):
            continue
        self.clock.now = until

    def ask(self, sock: VirtualSocket, request: Request, deadline: float | None) -> Answer:
        """A call's answer, once there is one or the deadline has come."""
        until = None if deadline is None else self.clock.now + round(deadline * 1e9)
        answer = self.kernel.attempt(sock, request)
        while answer is None:
            if not self.clock.step(until):
                assert until is not None, f"{request.word} is blocked for ever"
                self.clock.now = until
                return self.kernel.expired(sock, request)
            answer = self.kernel.attempt(sock, request)
        return answer


class Simulated:
    """What stands in for `socket.socket`."""

    world: World

    def __init__(
        self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, *,
        known: VirtualSocket | None = None,
    ) -> None:  # fmt: skip
        self.family, self.type = family, type
        if known is None:
            kind = KINDS[socket.AddressFamily(family), socket.SocketKind(type)]
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            known = self.world.made(kind, family, "create", host)
            self.world.kernel.everybody.append(known)
        self.sock = known
        self.world.numbers += 1
        self.number = self.world.numbers
        self._timeout: float | None = None
        self._deadline: float | None = None

    def _call(self, word: str, **parts: Any) -> Answer:
        world, sock = self.world, self.sock
        if self.number < 0 and sock.open:
            answer = world.kernel.closed(sock, Request(word, word, **parts))
        else:
            sock.timeout = self._timeout
            deadline = self._timeout or self._deadline
            answer = world.ask(sock, Request(word, word, **parts), deadline)
        world.settle()
        outcome = answer.outcome
        if outcome == "timeout":
            if self._timeout:
                raise TimeoutError("timed out")
            outcome = "EINPROGRESS" if word == "connect" else "EAGAIN"
        if outcome not in ("ok", "eof", "deferred"):
            number = errno_number(outcome)
            raise OSError(number, os.strerror(number))
        return answer

    def bind(self, address: Any) -> None:
        self._call("bind", address=_short(address))

    def listen(self, backlog: int = 5) -> None:
        self._call("listen", size=backlog)

    def accept(self) -> tuple[Simulated, Any]:
        data = self._call("accept").value
        assert isinstance(data, VirtualSocket)
        self.world.kernel.everybody.append(data)
        made = type(self)(self.family, self.type, known=data)
        return made, data.target

    def connect(self, address: Any) -> None:
        self._call("connect", address=_short(address))

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EAGAIN
        return 0

    def disconnect(self) -> None:
        self._call("disconnect")

    def send(self, data: bytes, flags: int = 0) -> int:
        kept = self._timeout
        if flags & socket.MSG_DONTWAIT:
            self._timeout = 0
        try:
            return self._call("send", data=data).done
        finally:
            self._timeout = kept

    def sendto(self, data: bytes, *more: Any) -> int:
        return self._call("send", data=data, address=_short(more[-1])).done

    def recv(self, size: int, flags: int = 0) -> bytes:
        value = self._call("recv", size=size, peek=bool(flags & socket.MSG_PEEK)).value
        assert isinstance(value, bytes)
        return value

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        return self.recv(size, flags), None

    def recvmsg(self, size: int, ancillary: int, flags: int = 0) -> tuple[bytes, Any]:
        return self.recv(size, flags), None

    def recv_into(self, buffer: bytearray, size: int, flags: int = 0) -> int:
        data = self.recv(size, flags)
        buffer[: len(data)] = data
        return len(data)

    def recvfrom_into(self, buffer: bytearray, size: int, flags: int = 0) -> tuple[int, Any]:
        return self.recv_into(buffer, size, flags), None

    def recvmsg_into(self, buffers: list[bytearray], _: int, flags: int = 0) -> tuple[int, Any]:
        return self.recv_into(buffers[0], len(buffers[0]), flags), None

    def sendall(self, data: bytes, flags: int = 0) -> int:
        return self.send(data, flags)

    def sendmsg(self, pieces: list[bytes], ancillary: object = (), flags: int = 0) -> int:
        return self.send(b"".join(pieces), flags)

    def shutdown(self, how: int) -> None:
        self._call(_HOW[how])

    def close(self) -> None:
        # The second close() of a Python object makes no call.
        if self.number >= 0:
            self._call("close")
            self.number = -1

    def dup(self) -> Simulated:
        twin = type(self)(self.family, self.type, known=self.sock)
        self.sock.holders += 1
        twin._timeout = self._timeout
        return twin

    def fileno(self) -> int:
        return self.number

    def getsockname(self) -> Any:
        known = self.sock.name
        return known or ("" if self.family == socket.AF_UNIX else (ANY, 0))

    def getpeername(self) -> Any:
        if not self.sock.look()["connected"]:
            raise OSError(errno.ENOTCONN, "")
        return self.sock.target

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setblocking(self, flag: bool) -> None:
        self._timeout = None if flag else 0

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option == socket.SO_LINGER:
            self.sock.linger = 0
        elif option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._deadline = 0.001

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if option == socket.SO_ERROR and level == socket.SOL_SOCKET:
            try:
                self._call("so_error")
            except OSError as error:
                return error.errno
            return 0
        look = self.sock.look()
        if level == socket.IPPROTO_TCP:
            state = str(look["tcp"])
            name = {"CLOSED": "CLOSE", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2"}
            name["SYN-RECEIVED"] = "SYN_RECV"
            assert state in tcp.STATES
            return bytes([bench.TCP_STATES.index(name.get(state, state.replace("-", "_")))])
        assert option == socket.SO_ACCEPTCONN
        return look["listening"]

    def __enter__(self) -> Simulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pair(family: int, type: int) -> tuple[Simulated, Simulated]:
    world = Simulated.world
    kind = KINDS[socket.AddressFamily(family), socket.SocketKind(type)]
    one, other = (world.made(kind, family, "socketpair", "") for _ in range(2))
    world.kernel.everybody += [one, other]
    world.kernel.pair(one, other)
    made = stand_in(world)
    return made(family, type, known=one), made(family, type, known=other)


def stand_in(world: World) -> type[Simulated]:
    return type("Here", (Simulated,), {"world": world})


def _short(address: Any) -> Any:
    return address[:2] if isinstance(address, tuple) else address


class Names:
    """What stands in for `Path`, where paths are those of the virtual kernel."""

    def __init__(self, path: str) -> None:
        self._path = path

    def exists(self) -> bool:
        return Simulated.world.kernel.owner(self._path) is not None

    def unlink(self, missing_ok: bool = False) -> None:
        Simulated.world.kernel.unlink("unix-stream", self._path, lambda sock: True)


@contextmanager
def simulated() -> Iterator[World]:
    """Have conform's benches call the virtual kernel."""
    world = World()
    names = {name: getattr(socket, name) for name in dir(socket) if not name.startswith("_")}
    stand = SimpleNamespace(**{**names, "socket": stand_in(world), "socketpair": pair})
    Simulated.world = world
    send: Callable[..., int] = Simulated.send
    with pytest.MonkeyPatch.context() as patch:
        for module in (bench, circumstances, rare, worlds):
            patch.setattr(module, "socket", stand)
        for module in (bench, circumstances):
            patch.setattr(module, "Path", Names)
        patch.setattr(bench, "disconnect", lambda sock: sock.disconnect())
        patch.setattr(rare, "_send", send)
        yield world
