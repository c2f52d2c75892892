"""A UDP echo server and its client: connectionless communication, nothing to accept."""

import socket
from collections.abc import Callable


def server(ready: Callable[[int], None]) -> None:
    """Send two datagrams back to where they came from; `ready` gets the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    ready(sock.getsockname()[1])
    for _ in range(2):
        # No connection, so each datagram says where it came from.
        message, sender = sock.recvfrom(1024)
        sock.sendto(message, sender)
    sock.close()


def client(port: int, message: bytes) -> tuple[bytes, bytes]:
    """Send `message` twice, unconnected and connected, and return both answers."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # No bind: on the first sendto the kernel assigns a port.
    sock.sendto(message, ("127.0.0.1", port))
    first, _ = sock.recvfrom(1024)
    # Connecting a datagram socket only sets its peer; no packet is sent.
    sock.connect(("127.0.0.1", port))
    sock.send(message)
    second = sock.recv(1024)
    sock.close()
    return first, second
