"""A wire between two real TCP ends of this machine that delays and loses segments on purpose.

A tun device has the address 10.9.0.1; whatever is sent to 10.9.0.2 comes back with the addresses
swapped (the checksums stay right), so each of two sockets takes the other for a remote host. Run in
a namespace of one's own only.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "traces" / "wires"))

from alone import alone
from patience import PATIENCE
from tun import HERE, THERE, Answers, Tun, mirrored


class Mirror:
    """The device and the thread that plays the wire. `lose(packet)`: whether to drop it."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.lose: Callable[[bytes], bool] = lambda packet: False
        self.tun = Tun("mirror0")
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self.tun.serve, args=(self._answer, self._end))
        self._thread.start()

    def _answer(self, packet: bytes) -> Answers:
        if packet[9] != socket.IPPROTO_TCP or self.lose(packet):
            return []
        return [(self.delay, mirrored(packet))]

    def close(self) -> None:
        os.write(self._stop, b"x")
        self._thread.join()
        with self.tun:
            pass
        for descriptor in (self._end, self._stop):
            os.close(descriptor)


def flags(packet: bytes) -> int:
    """The TCP flags of an IPv4 packet without options."""
    return packet[33]


def payload(packet: bytes) -> int:
    return len(packet) - 20 - (packet[32] >> 4) * 4


def simultaneous_open_and_close() -> None:
    """Both connect to each other while the SYNs are under way, then both close."""
    first, second = socket.socket(), socket.socket()
    with first, second:
        first.bind((HERE, 5001))
        second.bind((HERE, 5002))
        for sock, port in ((first, 5002), (second, 5001)):
            sock.setblocking(False)
            sock.connect_ex((THERE, port))
        for sock in (first, second):
            assert select.select([], [sock], [], PATIENCE)[1]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        first.shutdown(socket.SHUT_WR)
        second.shutdown(socket.SHUT_WR)
        for sock in (first, second):
            sock.setblocking(True)
            assert sock.recv(1) == b""


def lost_segments(mirror: Mirror) -> None:
    """The SYN, one data segment and the FIN are lost once each and sent again."""
    lost: set[str] = set()

    def lose(packet: bytes) -> bool:
        kind = ""
        if struct.unpack_from(">H", packet, 22)[0] == 5003:
            if flags(packet) & 2:
                kind = "SYN"
            elif payload(packet):
                kind = "data"
            elif flags(packet) & 1:
                kind = "FIN"
        if kind and kind not in lost:
            lost.add(kind)
            return True
        return False

    mirror.lose = lose
    with socket.create_server((HERE, 5003)) as listening:
        client = socket.create_connection((THERE, 5003))
        data, _ = listening.accept()
        with client, data:
            client.sendall(b"x" * 500)
            assert len(data.recv(1000)) == 500
            client.shutdown(socket.SHUT_WR)
            assert data.recv(1) == b""
            data.close()
            assert client.recv(1) == b""
    mirror.lose = lambda packet: False


def settle() -> None:
    """Wait until the last segments have arrived: then only TIME_WAIT is left in this namespace."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open("/proc/net/tcp") as file:
            states = {line.split()[3] for line in file.readlines()[1:]}
        if states <= {"06"}:
            return
        time.sleep(0.005)
    raise TimeoutError(f"TCP states {sorted(states)} do not settle")


def lossy_bulk(mirror: Mirror) -> None:
    """Of 200,000 bytes every ninth segment is lost, once: fast retransmissions."""
    seen: set[bytes] = set()

    def lose(packet: bytes) -> bool:
        number = packet[24:28]
        if struct.unpack_from(">H", packet, 22)[0] != 5004 or not payload(packet):
            return False
        fresh = number not in seen
        seen.add(number)
        return fresh and len(seen) % 9 == 0

    mirror.lose = lose
    with socket.create_server((HERE, 5004)) as listening:
        client = socket.create_connection((THERE, 5004))
        data, _ = listening.accept()
        with client, data:
            sender = threading.Thread(target=client.sendall, args=(bytes(200_000),))
            sender.start()
            read = 0
            while read < 200_000:
                read += len(data.recv(65536))
            sender.join()
            client.shutdown(socket.SHUT_WR)
            assert data.recv(1) == b""
            data.close()
            assert client.recv(1) == b""
    mirror.lose = lambda packet: False


def main(path: str) -> None:
    """Enter a namespace, make all cases, capture them into `path`."""
    from sockfsm.wire.capture import Capture

    alone()
    mirror = Mirror(delay=0.2)  # longer than it takes to call connect for the other end
    try:
        with Capture.start(Path(path), interface="mirror0"):
            simultaneous_open_and_close()
            mirror.delay = 0.02
            lost_segments(mirror)
            lossy_bulk(mirror)
            settle()
    finally:
        mirror.close()


if __name__ == "__main__":
    main(sys.argv[1])
