"""A UDP echo server and its client: connection-less communication, nothing to accept."""

import socket
from collections.abc import Callable


def server(ready: Callable[[int], None]) -> None:
    """Send two datagrams back where they came from; `ready` is told the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    ready(sock.getsockname()[1])
    for _ in range(2):
        # No connection, so each datagram says where it came from.
        message, sender = sock.recvfrom(1024)
        sock.sendto(message, sender)
    sock.close()


def client(port: int, message: bytes) -> tuple[bytes, bytes]:
    """Send `message` twice, without and with a connected socket; give both answers."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # No bind: the first sendto has the kernel assign a port.
    sock.sendto(message, ("127.0.0.1", port))
    first, _ = sock.recvfrom(1024)
    # A connected datagram socket only remembers its peer; nothing goes over the wire for it.
    sock.connect(("127.0.0.1", port))
    sock.send(message)
    second = sock.recv(1024)
    sock.close()
    return first, second
