"""Floods lo with numbered datagrams of 32 bytes: python tests/flood.py SECONDS [RATE]

Works in a network of its own (`own_network`). One send gives the kernel many datagrams as one
(udp(7), UDP_SEGMENT), and lo refuses what is that large: so the kernel cuts it, and each datagram
is a packet of its own. They go to a hardware address that nobody has: captures see them, then IP
drops them at once. Prints how many were sent, and how many in a second. Sources:
linux/virtio_net.h, packet(7), rtnetlink(7).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from pathlib import Path

from sockfsm.wire import namespace
from sockfsm.wire.pcapng import CaptureFile

# Where tcpdump has no user of its own it would capture nothing as root.
TCPDUMP = ["tcpdump", *(["-Z", "root"] if os.geteuid() == 0 else [])]

PORT = 4445
SIZE = 32
MANY = 64

_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_CHECKSUM, _UDP_L4 = 1, 5
_RTM_NEWLINK, _REQUEST_ACK, _GSO_MAX_SIZE = 16, 5, 41
_LOCAL = bytes((127, 0, 0, 1))


def own_network() -> None:
    """Move this process into a network namespace whose lo is up and cuts what is large.

    Capabilities stay, so that tcpdump has them too; who has none gets a user namespace as well.
    OSError or NamespaceError where that may not be.
    """
    if ctypes.CDLL(None).unshare(namespace.CLONE_NEWNET):
        namespace.enter()
    up = namespace.IFF_UP
    link = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), up, up)
    body = link + struct.pack("=HHI", 8, _GSO_MAX_SIZE, 1000)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as route:
        route.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _REQUEST_ACK, 1, 0) + body)
        error = struct.unpack_from("=i", route.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def flood(seconds: float, rate: float) -> tuple[int, float]:
    """Send for so long, at most at this rate: (datagrams sent, in a second)."""
    payload = SIZE * MANY
    offload = struct.pack("=BBHHHH", _CHECKSUM, _UDP_L4, 42, SIZE, 34, 6)
    ethernet = bytes((2, 0, 0, 0, 0, 1)) + bytes(6) + b"\x08\x00"
    head = struct.pack(">BxHxxxxBBxx4s4s", 0x45, 28 + payload, 64, 17, _LOCAL, _LOCAL)
    head += struct.pack(">HHHxx", PORT - 1, PORT, 8 + payload)
    datagrams = bytearray(offload + ethernet + head + bytes(payload))
    number = struct.Struct(">H").pack_into  # of the first one; the kernel counts on
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        wire.bind(("lo", 0x0800))
        sent, begin = 0, time.perf_counter()
        while (past := time.perf_counter() - begin) < seconds:
            if sent <= rate * past:
                number(datagrams, len(offload) + 18, sent & 0xFFFF)
                wire.send(datagrams)
                sent += MANY
    return sent, sent / past


def numbers(path: Path) -> list[int]:
    """The datagrams of a flood in a capture, by their numbers, which the header has to 16 bits."""
    found, last = [], -1
    for _, _, data, _ in CaptureFile(path):
        if data[36:38] == PORT.to_bytes(2, "big"):
            ahead = (int.from_bytes(data[18:20], "big") - last) & 0xFFFF
            last += ahead - (ahead >> 15 << 16)
            found.append(last)
    return found


if __name__ == "__main__":
    for_seconds, at_most = [*map(float, sys.argv[1:]), 1e9][:2]
    sent, speed = flood(for_seconds, at_most)
    print(f"{sent} {speed:.0f}")
