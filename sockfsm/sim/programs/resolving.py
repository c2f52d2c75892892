"""The functions of a virtual `_socket`."""

from __future__ import annotations

import _socket as real
from errno import EBADF, EOPNOTSUPP
from typing import TYPE_CHECKING, Any

from sockfsm.sim.programs import addresses
from sockfsm.sim.programs.refused import refusing
from sockfsm.sim.programs.sockets import _KINDS, Socket, close, failure
from sockfsm.sim.programs.world import COST, QUICK
from sockfsm.sim.sockets import Answer, Request, VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.home import Home
    from sockfsm.sim.programs.numbers import Numbers

_KEPT = frozenset(
    {
        "inet_aton", "inet_ntoa", "inet_pton", "inet_ntop", "htons", "htonl", "ntohs", "ntohl",
        "getservbyname", "getservbyport", "getprotobyname", "error", "gaierror", "herror", "timeout",
        "CMSG_LEN", "CMSG_SPACE",
    }
)  # fmt: skip
_NOT_SIMULATED = ("if_nameindex", "if_nametoindex", "if_indextoname", "sethostname")


class Resolving:
    """A process's `_socket`."""

    def __init__(self, home: Home, numbers: Numbers) -> None:
        self._home = home
        self._default: list[float | None] = [None]
        space = {
            "home": home, "default": self._default, "__slots__": (), "__module__": "_socket"
        }  # fmt: skip
        self.socket: type[Socket] = type("socket", (Socket,), space)
        numbers.give(self.socket)

    def module(self) -> dict[str, object]:
        """The names of `_socket`."""
        names: dict[str, object] = {
            name: value
            for name, value in vars(real).items()
            if name in _KEPT or (name.isupper() and name != "CAPI")
        }
        for name in _NOT_SIMULATED:
            names[name] = refusing(f"socket.{name}")
        for name in (
            "close", "dup", "socketpair", "getaddrinfo", "gethostbyname", "gethostbyname_ex",
            "gethostbyaddr", "gethostname", "getnameinfo", "getdefaulttimeout", "setdefaulttimeout",
        ):  # fmt: skip
            names[name] = getattr(self, name)
        return names | {"socket": self.socket, "SocketType": self.socket, "has_ipv6": False}

    def reset(self) -> None:
        """Another run begins."""
        self._default[0] = None

    def close(self, fd: int) -> None:
        """See socket.close."""
        close(self._home.process, fd)

    def dup(self, fd: int) -> int:
        """See socket.dup."""
        process = self._home.process
        thing = process.descriptors.get(fd)
        if thing is None:
            raise failure(EBADF)
        if isinstance(thing, VirtualSocket):
            thing.holders += 1
        return process.open(thing)

    def socketpair(
        self, family: int | None = None, type: int = real.SOCK_STREAM, proto: int = 0
    ) -> tuple[Socket, Socket]:
        """See socket.socketpair."""
        process, world = self._home.process, self._home.world
        family = int(real.AF_UNIX) if family is None else int(family)
        type = int(type) & ~(real.SOCK_NONBLOCK | real.SOCK_CLOEXEC)
        if family != real.AF_UNIX or (family, type) not in _KINDS:
            raise failure(EOPNOTSUPP)
        kind = _KINDS[family, type][0]
        me = world.point(None, "socketpair")
        begin = world.clock.now
        made = [process.socket(kind, family, 0, "socketpair") for _ in range(2)]
        world.kernel.pair(*made)
        ended = world.taken(QUICK)
        for sock in made:
            world.journal.call(
                me, sock, Request("socketpair", "socketpair"), Answer("ok", "START", sock.state),
                begin, ended, False,
            )  # fmt: skip
        first, second = (self.socket(fileno=sock.event.descriptor) for sock in made)
        return first, second

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
        """See socket.getaddrinfo."""
        world = self._home.world
        me = world.point(None, "resolve")
        begin = world.clock.now
        request = Request("resolve", "getaddrinfo")
        found = addresses.getaddrinfo(
            world.hosts, host, port, int(family), int(type), int(proto), int(flags)
        )
        end = world.taken(COST)
        world.journal.call(me, None, request, Answer("ok", "", ""), begin, end, False)
        return found

    def gethostbyname(self, hostname: str) -> str:
        """See socket.gethostbyname."""
        return addresses.host(hostname, self._home.world.hosts)

    def gethostbyname_ex(self, hostname: str) -> tuple[str, list[str], list[str]]:
        """See socket.gethostbyname_ex."""
        return hostname, [], [self.gethostbyname(hostname)]

    def gethostbyaddr(self, ip_address: str) -> tuple[str, list[str], list[str]]:
        """See socket.gethostbyaddr."""
        found = addresses.host(ip_address, self._home.world.hosts)
        for name, known in self._home.world.hosts.items():
            if known == found:
                return name, [], [found]
        raise real.herror(1, "Unknown host")

    def gethostname(self) -> str:
        """See socket.gethostname."""
        for name, known in self._home.world.hosts.items():
            if known == self._home.process.host:
                return name
        return "localhost"

    def getnameinfo(self, sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        """See socket.getnameinfo."""
        name, port = sockaddr[:2]
        if not flags & real.NI_NUMERICHOST:
            for known, found in self._home.world.hosts.items():
                if found == name:
                    name = known
                    break
        return name, str(port)

    def getdefaulttimeout(self) -> float | None:
        """See socket.getdefaulttimeout."""
        return self._default[0]

    def setdefaulttimeout(self, timeout: float | None) -> None:
        """See socket.setdefaulttimeout."""
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        self._default[0] = None if timeout is None else float(timeout)
