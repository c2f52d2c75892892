"""All the ways in which Python sends and receives, told apart by their method's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from socket import socket
from types import MappingProxyType

from sockfsm.conform.bench import Address


def _recv_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recv_into(buffer, size, flags)])


def _recvfrom_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recvfrom_into(buffer, size, flags)[0]])


def _recvmsg_into(sock: socket, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recvmsg_into([buffer], 0, flags)[0]])


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
"""Method -> a call of it that gives what came."""

SEND: Mapping[str, Callable[[socket, bytes, int, Address], object]] = MappingProxyType(
    {
        "send": lambda sock, data, flags, to: sock.send(data, flags),
        "sendall": lambda sock, data, flags, to: sock.sendall(data, flags),
        "sendmsg": lambda sock, data, flags, to: sock.sendmsg([data], [], flags),
        "sendto": lambda sock, data, flags, to: sock.sendto(data, flags, to),
    }
)
"""Method -> a call of it."""
