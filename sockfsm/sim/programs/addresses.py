"""Addresses as programs write them: names of the run's hosts, services, getaddrinfo()."""

from __future__ import annotations

import _socket
import socket as real
from collections.abc import Mapping

from sockfsm.sim.frames import Name

LOCAL, LOCAL_SIX = "127.0.0.1", "::1"
_PATH_MAX = 107
_STREAM, _DATAGRAM = int(real.SOCK_STREAM), int(real.SOCK_DGRAM)
_INET, _INET6 = int(real.AF_INET), int(real.AF_INET6)
_NAMES = {_INET: "AF_INET", _INET6: "AF_INET6"}
_TRANSPORTS = ((_STREAM, int(real.IPPROTO_TCP)), (_DATAGRAM, int(real.IPPROTO_UDP)))


def host(name: str | bytes | bytearray, hosts: Mapping[str, str], family: int = _INET) -> str:
    """The address of a host. gaierror for one that the run does not name."""
    text = name if isinstance(name, str) else bytes(name).decode("ascii", "replace")
    six = family == _INET6
    if text == "":
        return "::" if six else "0.0.0.0"
    if text == "<broadcast>" and not six:
        return "255.255.255.255"
    found = hosts.get(text.rstrip(".").lower())
    if found is not None:
        return LOCAL_SIX if six and found == LOCAL else found
    try:
        if six:
            return real.inet_ntop(_INET6, real.inet_pton(_INET6, text.partition("%")[0]))
        return real.inet_ntoa(real.inet_aton(text))
    except OSError:
        raise real.gaierror(real.EAI_NONAME, "Name or service not known") from None


def address(family: int, given: object, call: str, hosts: Mapping[str, str]) -> Name | str:
    """What a call is given as an address, as the kernel has it."""
    if family == real.AF_UNIX:
        if isinstance(given, (bytes, bytearray, memoryview)):
            given = bytes(given).decode("utf-8", "surrogateescape")
        elif hasattr(given, "__fspath__"):
            given = given.__fspath__()
        if not isinstance(given, str):
            kind = type(given).__name__
            raise TypeError(f"a bytes-like object is required, not '{kind}'")
        if len(given.encode("utf-8", "surrogateescape")) > _PATH_MAX + given.startswith("\0"):
            raise OSError("AF_UNIX path too long")
        return given
    if not isinstance(given, tuple):
        kind = type(given).__name__
        raise TypeError(f"{call}(): {_NAMES[family]} address must be tuple, not {kind}")
    if family == _INET and len(given) != 2:
        raise TypeError(f"{call}(): AF_INET address must be a pair (host, port)")
    if not 2 <= len(given) <= 4:
        wanted = "(host, port[, flowinfo[, scopeid]])"
        raise TypeError(f"{call}(): AF_INET6 address must be a tuple {wanted}")
    name, port = given[:2]
    if not isinstance(name, (str, bytes, bytearray)):
        kind = type(name).__name__
        raise TypeError(f"str, bytes or bytearray expected, not {kind}")
    if not isinstance(port, int):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    if not 0 <= port <= 65_535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    return host(name, hosts, family), int(port)


def service(name: object, type_: int) -> int:
    """The number of a port that is given by number or by name."""
    if name is None or name == b"" or name == "":
        return 0
    if isinstance(name, int):
        return name & 0xFFFF
    text = name.decode() if isinstance(name, bytes) else str(name)
    if text.isdigit():
        return int(text)
    try:
        return _socket.getservbyname(text, "udp" if type_ == _DATAGRAM else "tcp")
    except OSError:
        message = "Servname not supported for ai_socktype"
        raise real.gaierror(real.EAI_SERVICE, message) from None


def getaddrinfo(
    hosts: Mapping[str, str], name: str | bytes | None, port: object, family: int, type_: int,
    proto: int, flags: int,
) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:  # fmt: skip
    """See socket.getaddrinfo: of TCP and UDP; IPv6 only where it is asked for."""
    if (name is None and port is None) or name == "" or name == b"":
        raise real.gaierror(real.EAI_NONAME, "Name or service not known")
    if family not in (0, _INET, _INET6):
        raise real.gaierror(real.EAI_FAMILY, "ai_family not supported")
    if name is None:
        name = "" if flags & real.AI_PASSIVE else "localhost"
    elif flags & real.AI_NUMERICHOST:
        hosts = {}
    numeric = ":" in (name if isinstance(name, str) else name.decode("ascii", "replace"))
    if numeric and family == _INET:
        raise real.gaierror(real.EAI_ADDRFAMILY, "Address family for hostname not supported")
    chosen = _INET6 if numeric else family or _INET
    found = host(name, hosts, chosen)
    canonical = (name if isinstance(name, str) else found) if flags & real.AI_CANONNAME else ""
    kinds = [(t, p) for t, p in _TRANSPORTS if type_ in (0, t) and proto in (0, p)]
    if not kinds:
        raise real.gaierror(real.EAI_SOCKTYPE, "ai_socktype not supported")
    number = service(port, type_)
    end = (found, number, 0, 0) if chosen == _INET6 else (found, number)
    return [(chosen, t, p, canonical, end) for t, p in kinds]
