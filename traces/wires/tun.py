"""A tun device: what is sent to a host behind it comes to us, and we play that host, or the wire.

    with Tun("wire0") as tun:
        tun.serve(lambda packet: [(0.02, mirrored(packet))], stop=sys.stdin.fileno())

To be used in a network namespace of one's own.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterable

HERE, THERE = "10.9.0.1", "10.9.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
Answers = Iterable[tuple[float, bytes]]


class Tun:
    """The device, up, with the address 10.9.0.1 for this machine."""

    def __init__(self, name: str) -> None:
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR)
        request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(self.descriptor, TUNSETIFF, request)
        for command in (
            ["ip", "address", "add", f"{HERE}/24", "dev", name],
            ["ip", "link", "set", name, "up"],
        ):
            subprocess.run(command, check=True)

    def serve(self, answer: Callable[[bytes], Answers], stop: int) -> None:
        """For each IPv4 packet, send what `answer` gives (seconds from now, packet).

        Returns when the descriptor `stop` can be read.
        """
        waiting: list[tuple[float, bytes]] = []
        while True:
            left = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
            ready, _, _ = select.select([self.descriptor, stop], [], [], left)
            if stop in ready:
                return
            if self.descriptor in ready:
                packet = os.read(self.descriptor, 65536)
                if packet[0] >> 4 == 4:
                    now = time.monotonic()
                    waiting += [(now + delay, said) for delay, said in answer(packet)]
                    waiting.sort(key=lambda entry: entry[0])
            while waiting and waiting[0][0] <= time.monotonic():
                os.write(self.descriptor, waiting.pop(0)[1])

    def __enter__(self) -> Tun:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def mirrored(packet: bytes) -> bytes:
    """The packet with its addresses swapped (the checksums stay right).

    So each of two sockets of this machine takes the other for a remote host.
    """
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
