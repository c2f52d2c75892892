"""All methods with which Python sends and receives."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from socket import socket
from types import MappingProxyType
from typing import TypeVar

from sockfsm.conform.bench import Address

T = TypeVar("T")


def _recv_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recv_into(buffer, size, flags)])


def _recvfrom_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recvfrom_into(buffer, size, flags)[0]])


def _recvmsg_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recvmsg_into([buffer], 0, flags)[0]])


def read(sock: socket, size: int, _: int) -> bytes:
    """Read from `makefile()`."""
    with sock.makefile("rb", buffering=0) as file:
        return bytes(_certain(file.read(size)))


def write(sock: socket, data: bytes, *_: object) -> object:
    """Write to `makefile()`."""
    with sock.makefile("wb", buffering=0) as file:
        return _certain(file.write(data))


def _certain(result: T | None) -> T:
    """Raise EAGAIN in place of None, which is what a file returns if it would have to wait."""
    if result is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return result


def sendfile(sock: socket, data: bytes, *_: object) -> object:
    """Send the bytes of a file. Only for blocking streams."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return sock.sendfile(file)


TOO_MANY = 2000  # IOV_MAX is 1,024


def too_many_sent(sock: socket, data: bytes, *_: object) -> object:
    """Send more buffers than one message may have."""
    return sock.sendmsg([data] * TOO_MANY)


def too_many_received(sock: socket, *_: object) -> object:
    """Receive into more buffers than one message may have."""
    return sock.recvmsg_into([bytearray(1)] * TOO_MANY)


RECEIVE: Mapping[str, Callable[[socket, int, int], bytes]] = MappingProxyType(
    {
        "recv": lambda sock, size, flags: sock.recv(size, flags),
        "recv_into": _recv_into,
        "recvfrom": lambda sock, size, flags: sock.recvfrom(size, flags)[0],
        "recvfrom_into": _recvfrom_into,
        "recvmsg": lambda sock, size, flags: sock.recvmsg(size, 0, flags)[0],
        "recvmsg_into": _recvmsg_into,
    }
)
"""Method -> a function that calls it and returns what it received."""

SEND: Mapping[str, Callable[[socket, bytes, int, Address], object]] = MappingProxyType(
    {
        "send": lambda sock, data, flags, to: sock.send(data, flags),
        "sendall": lambda sock, data, flags, to: sock.sendall(data, flags),
        "sendmsg": lambda sock, data, flags, to: sock.sendmsg([data], [], flags),
        "sendto": lambda sock, data, flags, to: sock.sendto(data, flags, to),
    }
)
"""Method -> a function that calls it."""
