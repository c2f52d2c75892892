"""Simulated packets as frames that any dissector takes: Ethernet, IP, TCP or UDP, checksums right.

Sources: RFC 791, 8200, 768, 9293 3.1, 1071.
"""

from __future__ import annotations

import struct
from array import array
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from sys import byteorder

from sockfsm.tcp_names import FLAGS

FIN, SYN, RST, PSH, ACK = (1 << bit for bit in range(5))
LETTERS = tuple(
    "".join(letter for bit, letter in enumerate(FLAGS) if number >> bit & 1)
    for number in range(256)
)
"""The flags of a header, as a packet has them: `SA`."""

Name = tuple[str, int]

_ETHERNET, _ETHERNET_SIX = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"
_SIX = struct.Struct(">IHBB16s16s")
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIHHHH")
_DONT_FRAGMENT = 0x4000


@lru_cache(1024)
def _packed(host: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in host else AF_INET, host)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) & 1:
        data += b"\0"
    total = sum(array("H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    total = ~total & 0xFFFF
    # A sum of 16-bit words is the same in both byte orders, but for the bytes of the result.
    return total >> 8 | (total & 0xFF) << 8 if byteorder == "little" else total


def _network(source: str, target: str, protocol: int, number: int, body: bytes) -> bytes:
    length = 20 + len(body)
    ends = _packed(source), _packed(target)
    if len(ends[0]) > 4:
        return _ETHERNET_SIX + _SIX.pack(6 << 28, len(body), protocol, 64, *ends) + body
    fields = (0x45, 0, length, number & 0xFFFF, _DONT_FRAGMENT, 64, protocol)
    header = _IP.pack(*fields, checksum(_IP.pack(*fields, 0, *ends)), *ends)
    return _ETHERNET + header + body


def _summed(source: str, target: str, protocol: int, body: bytes) -> int:
    # Both pseudo-headers sum up to the same: IPv6's has wider fields, whose high halves are 0.
    pseudo = _packed(source) + _packed(target) + struct.pack(">HH", protocol, len(body))
    return checksum(pseudo + body)


def tcp_frame(
    source: Name, target: Name, number: int, seq: int, ack: int, flags: int, window: int,
    data: bytes, mss: int = 0,
) -> bytes:  # fmt: skip
    """A segment. number: IP's identification. mss: the option's value, 0 for none."""
    options = struct.pack(">BBH", 2, 4, mss) if mss else b""
    bits = (5 + len(options) // 4) << 12 | flags
    fields = (source[1], target[1], seq, ack, bits, window)
    body = _TCP.pack(*fields, 0, 0) + options + data
    total = _summed(source[0], target[0], 6, body)
    body = _TCP.pack(*fields, total, 0) + options + data
    return _network(source[0], target[0], 6, number, body)


def udp_frame(source: Name, target: Name, number: int, data: bytes) -> bytes:
    """A datagram."""
    head = struct.pack(">HHH", source[1], target[1], 8 + len(data))
    total = _summed(source[0], target[0], 17, head + b"\0\0" + data) or 0xFFFF
    return _network(source[0], target[0], 17, number, head + struct.pack(">H", total) + data)
