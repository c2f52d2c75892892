"""A virtual `_socket.socket`: what Lib/socket.py, unmodified, is built on."""

from __future__ import annotations

import os
import socket as real
from errno import EBADF, EINVAL, ENOTCONN, ENOTSOCK, EPROTONOSUPPORT
from typing import TYPE_CHECKING, Any, ClassVar

from sockfsm.model.errnos import errno_number
from sockfsm.sim.frames import Name
from sockfsm.sim.programs import options
from sockfsm.sim.programs.addresses import address
from sockfsm.sim.programs.refused import refuse
from sockfsm.sim.programs.world import GLANCE, QUICK
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.home import Home
    from sockfsm.sim.programs.process import Process

_AF_INET, _AF_UNIX, _AF_INET6 = int(real.AF_INET), int(real.AF_UNIX), int(real.AF_INET6)
_DONTWAIT, _PEEK, _WAITALL = int(real.MSG_DONTWAIT), int(real.MSG_PEEK), int(real.MSG_WAITALL)
_FLAGS = int(real.SOCK_NONBLOCK) | int(real.SOCK_CLOEXEC)
_KINDS = {
    (_AF_INET, int(real.SOCK_STREAM)): ("tcp", (0, int(real.IPPROTO_TCP))),
    (_AF_INET, int(real.SOCK_DGRAM)): ("udp", (0, int(real.IPPROTO_UDP))),
    (_AF_INET6, int(real.SOCK_STREAM)): ("tcp", (0, int(real.IPPROTO_TCP))),
    (_AF_INET6, int(real.SOCK_DGRAM)): ("udp", (0, int(real.IPPROTO_UDP))),
    (_AF_UNIX, int(real.SOCK_STREAM)): ("unix-stream", (0,)),
    (_AF_UNIX, int(real.SOCK_DGRAM)): ("unix-dgram", (0,)),
}
_TYPES = {"tcp": 1, "udp": 2, "unix-stream": 1, "unix-dgram": 2}
_SHUTDOWNS = {
    0: ("shutdown_rd", "shutdown(SHUT_RD)"),
    1: ("shutdown_wr", "shutdown(SHUT_WR)"),
    2: ("shutdown_rdwr", "shutdown(SHUT_RDWR)"),
}
_ANY, _ANY_SIX = ("0.0.0.0", 0), ("::", 0)
_GOOD = frozenset({"ok", "eof", "deferred"})


def failure(number: int) -> OSError:
    """The exception for an errno."""
    return OSError(number, os.strerror(number))


class Socket:
    """See _socket.socket. home: of its process; each process has a subclass of its own."""

    __slots__ = ("_family", "_fd", "_of", "_proto", "_timeout", "_type", "_was")
    home: ClassVar[Home]
    default: ClassVar[list[float | None]]

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        self._fd = -1
        self._was: VirtualSocket | None = None
        process = self._of = self.home.process
        self._timeout: float | None = self.default[0]
        if fileno is not None:
            self._adopt(family, type, proto, fileno)
            return
        family = _AF_INET if family == -1 else int(family)
        type = int(real.SOCK_STREAM) if type == -1 else int(type)
        proto = 0 if proto == -1 else int(proto)
        if type & int(real.SOCK_NONBLOCK):
            self._timeout = 0.0
        type &= ~_FLAGS
        if (family, type) not in _KINDS:
            refuse(f"socket({family}, {type}, {proto})")
        kind, protocols = _KINDS[family, type]
        if proto not in protocols:
            raise failure(EPROTONOSUPPORT)
        world = process.world
        me = world.point(None, "create")
        begin = world.clock.now
        sock = process.socket(kind, family, proto)
        self._fd, self._family, self._type, self._proto = sock.event.descriptor, family, type, proto
        world.journal.call(
            me, sock, Request("create", "socket"), Answer("ok", "START", sock.state), begin,
            world.taken(QUICK), False,
        )  # fmt: skip

    def _adopt(self, family: int, type: int, proto: int, fileno: int) -> None:
        if fileno < 0:
            raise ValueError("negative file descriptor")
        thing = self.home.process.descriptors.get(fileno)
        if thing is None:
            raise failure(EBADF)
        if not isinstance(thing, VirtualSocket):
            raise failure(ENOTSOCK)
        self._fd = fileno
        self._family = thing.event.family
        self._type = _TYPES[thing.kind]
        self._proto = thing.event.proto if proto == -1 else proto

    # The call

    def _mine(self) -> VirtualSocket:
        thing = self.home.process.descriptors.get(self._fd)
        if thing is None:
            self.home.world.me()
            raise failure(EBADF)
        assert isinstance(thing, VirtualSocket)
        return thing

    def _call(self, request: Request, flags: int = 0) -> Answer:
        if self._fd == -1 and self._was is not None:
            outcome = self.home.world.call_closed(self._was, request).outcome
            raise failure(errno_number(outcome))
        sock = self._mine()
        timeout = 0.0 if flags & _DONTWAIT else self._timeout
        answer = self.home.world.call(sock, request, timeout)
        outcome = answer.outcome
        if outcome in _GOOD:
            return answer
        if outcome == "timeout":
            raise TimeoutError("timed out")
        raise failure(errno_number(outcome))

    def _address(self, given: object, call: str) -> Name | str:
        return address(self._family, given, call, self.home.world.hosts)

    def _shown(self, name: object) -> object:
        if self._family == _AF_UNIX:
            if isinstance(name, str) and name.startswith("\0"):
                return name.encode("utf-8", "surrogateescape")
            return name or ""
        if self._family == _AF_INET6:
            return (*(name or _ANY_SIX), 0, 0)  # type: ignore[misc]
        return name or _ANY

    # Names and connections

    def bind(self, given: object) -> None:
        """See socket.bind."""
        self._call(Request("bind", "bind", self._address(given, "bind")))

    def listen(self, backlog: int = 128) -> None:
        """See socket.listen."""
        self._call(Request("listen", "listen", size=max(int(backlog), 0)))

    def _accept(self) -> tuple[int, object]:
        answer = self._call(Request("accept", "accept"))
        data = answer.value
        assert isinstance(data, VirtualSocket)
        return data.event.descriptor, self._shown(answer.address)

    def connect(self, given: object) -> None:
        """See socket.connect."""
        if self._type == 2 and given is None:
            self._call(Request("disconnect", "connect"))
            return
        self._call(Request("connect", "connect", self._address(given, "connect")))

    def connect_ex(self, given: object) -> int:
        """See socket.connect_ex."""
        request = Request("connect", "connect_ex", self._address(given, "connect_ex"))
        sock = self._mine()
        outcome = self.home.world.call(sock, request, self._timeout).outcome
        if outcome == "timeout":
            return int(errno_number("EAGAIN"))
        return 0 if outcome in _GOOD else errno_number(outcome)

    def getsockname(self) -> object:
        """See socket.getsockname."""
        sock = self._mine()
        if sock.tcb is not None and sock.name is not None:
            return self._shown(sock.tcb.local)
        return self._shown(sock.name)

    def getpeername(self) -> object:
        """See socket.getpeername."""
        sock = self._mine()
        if not options.connected(sock):
            raise failure(ENOTCONN)
        return self._shown(sock.target)

    # Data

    def send(self, data: Any, flags: int = 0) -> int:
        """See socket.send."""
        return self._call(Request("send", "send", data=bytes(data)), flags).done

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See socket.sendall."""
        whole = bytes(data)
        self._call(Request("send", "sendall", data=whole), flags)

    def sendto(self, data: Any, *rest: Any) -> int:
        """See socket.sendto."""
        if not 1 <= len(rest) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(rest) + 1} given)")
        target = self._address(rest[-1], "sendto")
        flags = rest[0] if len(rest) == 2 else 0
        return self._call(Request("send", "sendto", target, bytes(data)), flags).done

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, given: object = None) -> int:
        """See socket.sendmsg."""
        if tuple(ancdata):
            refuse("sendmsg() with ancillary data")
        target = None if given is None else self._address(given, "sendmsg")
        data = b"".join(bytes(buffer) for buffer in buffers)
        return self._call(Request("send", "sendmsg", target, data), flags).done

    def _receive(self, size: int, flags: int, method: str) -> tuple[bytes, Answer]:
        if size < 0:
            raise ValueError(f"negative buffersize in {method}")
        peek = bool(flags & _PEEK)
        answer = self._call(Request("recv", method, size=size, peek=peek), flags)
        data = answer.value if isinstance(answer.value, bytes) else b""
        if flags & _WAITALL and data and self._type == 1 and not peek:
            while len(data) < size:
                answer = self._call(Request("recv", method, size=size - len(data)), flags)
                if not answer.value:
                    break
                assert isinstance(answer.value, bytes)
                data += answer.value
        return data, answer

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """See socket.recv."""
        return self._receive(bufsize, flags, "recv")[0]

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, object]:
        """See socket.recvfrom."""
        data, answer = self._receive(bufsize, flags, "recvfrom")
        return data, self._sender(answer)

    def _sender(self, answer: Answer) -> object:
        if self._type == 1 or (answer.address is None and self._family == _AF_UNIX):
            return None
        return self._shown(answer.address)

    def _fill(self, buffer: Any, size: int, flags: int, method: str) -> tuple[int, Answer]:
        view = memoryview(buffer).cast("B")
        if size < 0:
            raise ValueError(f"negative buffersize in {method}")
        if size > len(view):
            raise ValueError("buffer too small for requested bytes")
        data, answer = self._receive(size or len(view), flags, method)
        view[: len(data)] = data
        return len(data), answer

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """See socket.recv_into."""
        return self._fill(buffer, nbytes, flags, "recv_into")[0]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, object]:
        """See socket.recvfrom_into."""
        number, answer = self._fill(buffer, nbytes, flags, "recvfrom_into")
        return number, self._sender(answer)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[object], int, object]:
        """See socket.recvmsg."""
        data, answer = self._receive(bufsize, flags, "recvmsg")
        return data, [], 0, self._sender(answer)

    def recvmsg_into(
        self, buffers: Any, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[object], int, object]:
        """See socket.recvmsg_into."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data, answer = self._receive(sum(map(len, views)), flags, "recvmsg_into")
        rest = data
        for view in views:
            part, rest = rest[: len(view)], rest[len(view) :]
            view[: len(part)] = part
        return len(data), [], 0, self._sender(answer)

    # The end

    def shutdown(self, how: int) -> None:
        """See socket.shutdown."""
        if how not in _SHUTDOWNS:
            raise failure(EINVAL)
        self._call(Request(*_SHUTDOWNS[how]))

    def close(self) -> None:
        """See socket.close."""
        number, self._fd = self._fd, -1
        process = self._of
        # Who is collected after its process has ended has nothing to close any more.
        if number != -1 and process.status is None and not process.world.over:
            thing = self.home.process.descriptors.get(number)
            self._was = thing if isinstance(thing, VirtualSocket) else None
            close(self.home.process, number)

    def detach(self) -> int:
        """See socket.detach."""
        number, self._fd = self._fd, -1
        return number

    def __del__(self) -> None:
        process, number = getattr(self, "_of", None), getattr(self, "_fd", -1)
        if number == -1 or process is None or process.status is not None or process.world.over:
            return
        thing = process.descriptors.get(number)
        if isinstance(thing, VirtualSocket) and process.main is not None:
            process.take(number)
            process.world.closed(process.main, thing, "collected")

    # Settings

    @property
    def family(self) -> int:
        """See socket.family."""
        return self._family

    @property
    def type(self) -> int:
        """See socket.type."""
        return self._type

    @property
    def proto(self) -> int:
        """See socket.proto."""
        return self._proto

    def fileno(self) -> int:
        """See socket.fileno."""
        return self._fd

    @property
    def timeout(self) -> float | None:
        """See socket.timeout."""
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        """See socket.settimeout."""
        if timeout is not None:
            if not hasattr(timeout, "__float__") and not hasattr(timeout, "__index__"):
                kind = type(timeout).__name__
                raise TypeError(f"'{kind}' object cannot be interpreted as an integer")
            timeout = float(timeout)
            if timeout < 0:
                raise ValueError("Timeout value out of range")
        self._mine()
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """See socket.gettimeout."""
        return self._timeout

    def setblocking(self, flag: object) -> None:
        """See socket.setblocking."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """See socket.getblocking."""
        return self._timeout != 0

    def setsockopt(self, level: int, name: int, value: Any, length: int | None = None) -> None:
        """See socket.setsockopt."""
        options.put(self.home.world.kernel.stack, self._mine(), int(level), int(name), value)

    def getsockopt(self, level: int, name: int, buflen: int = 0) -> Any:
        """See socket.getsockopt."""
        sock = self._mine()
        if (level, name) == (real.SOL_SOCKET, real.SO_ERROR):
            request = Request("so_error", "getsockopt(SO_ERROR)")
            outcome = self.home.world.call(sock, request, self._timeout).outcome
            return 0 if outcome in _GOOD else errno_number(outcome)
        self.home.world.spend(GLANCE)
        return options.get(sock, int(level), int(name), buflen)

    def __repr__(self) -> str:
        return (
            f"<socket object, fd={self._fd}, family={self._family}, type={self._type},"
            f" proto={self._proto}>"
        )


def close(process: Process, number: int) -> None:
    """Close a descriptor."""
    world = process.world
    thing = process.descriptors.get(number)
    if thing is None:
        world.me()
        raise failure(EBADF)
    if not isinstance(thing, VirtualSocket):
        process.take(number)
        return
    me = world.point(thing, "close")
    if process.descriptors.get(number) is not thing:
        raise failure(EBADF)  # another thread has closed it meanwhile
    process.take(number)
    begin = world.clock.now
    request = Request("close", "close")
    answer = world.kernel.attempt(thing, request)
    assert answer is not None
    world.journal.call(me, thing, request, answer, begin, world.taken(QUICK), False)
    world.worked()
