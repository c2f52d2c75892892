"""Connections of every sort, made by real sockets: what the tests of the wire look at.

Each case takes the two addresses to use and returns (client end, server end) as packets show them.
"""

from __future__ import annotations

import socket
import struct
import time

from patience import PATIENCE

LOOPBACK = "127.0.0.1"
ABORT = struct.pack("ii", 1, 0)

End = tuple[str, int]
Ends = tuple[End, End]


def pair(
    host: str = LOOPBACK, family: int = socket.AF_INET
) -> tuple[socket.socket, socket.socket, Ends]:
    """(client, data socket, their ends); the listening socket is closed."""
    with socket.create_server((host, 0), family=family) as listening:
        client = socket.create_connection(listening.getsockname()[:2])
        data, _ = listening.accept()
    return client, data, (client.getsockname()[:2], client.getpeername()[:2])


def normal(host: str = LOOPBACK, family: int = socket.AF_INET) -> Ends:
    client, data, ends = pair(host, family)
    with client, data:
        client.sendall(b"x" * 100)
        assert len(data.recv(200)) == 100
        data.sendall(b"y" * 50)
        assert len(client.recv(200)) == 50
        client.close()
        assert data.recv(1) == b""
    return ends


def server_closes_first() -> Ends:
    client, data, ends = pair()
    with client, data:
        data.close()
        assert client.recv(1) == b""
    return ends


def refused() -> Ends:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        server = free.getsockname()
    with socket.socket() as client:
        client.bind((LOOPBACK, 0))
        ends = client.getsockname(), server
        try:
            client.connect(server)
        except ConnectionRefusedError:
            return ends
    raise AssertionError("somebody listens there")


def half_close() -> Ends:
    """The client shuts down writing, the server goes on sending before it closes."""
    client, data, ends = pair()
    with client, data:
        client.shutdown(socket.SHUT_WR)
        assert data.recv(1) == b""
        data.sendall(b"z" * 30)
        assert len(client.recv(99)) == 30
        data.close()
        assert client.recv(1) == b""
    return ends


def linger_reset() -> Ends:
    client, data, ends = pair()
    with client, data:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        client.close()
    return ends


def unread_reset() -> Ends:
    client, data, ends = pair()
    with client, data:
        client.sendall(b"never read")
        data.close()
    return ends


def data_after_close() -> Ends:
    """The client writes although the server is gone: the kernel answers with RST."""
    client, data, ends = pair()
    with client, data:
        data.close()
        assert client.recv(1) == b""
        client.sendall(b"anybody?")
    return ends


def never_accepted() -> Ends:
    """The listening socket is closed while the connection waits in its queue."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ends = client.getsockname(), client.getpeername()
    client.close()
    return ends


def full_backlog() -> Ends:
    """The listener has no room: the SYN is dropped and repeated after a second, in vain."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        server = listening.getsockname()
        with socket.create_connection(server), socket.socket() as client:
            client.bind((LOOPBACK, 0))
            client.settimeout(1.3)
            ends = client.getsockname(), server
            try:
                client.connect(server)
            except TimeoutError:
                return ends
    raise AssertionError("there was room")


def self_connect() -> Ends:
    with socket.socket() as alone:
        alone.bind((LOOPBACK, 0))
        name = alone.getsockname()
        alone.connect(name)
        alone.sendall(b"me")
        assert alone.recv(9) == b"me"
    return name, name


def still_open() -> tuple[Ends, list[socket.socket]]:
    client, data, ends = pair()
    return ends, [client, data]


def zero_window() -> Ends:
    """The server does not read until its window is closed."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
    with client, data:
        ends = client.getsockname(), client.getpeername()
        client.setblocking(False)
        sent, deadline = 0, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                sent += client.send(bytes(65536))
            except BlockingIOError:
                if sent and _window_closed(client):
                    break
        data.settimeout(PATIENCE)
        while sent:
            sent -= len(data.recv(1 << 20))
    return ends


def _window_closed(sock: socket.socket) -> bool:
    """tcpi_unacked is 0 and data waits: the peer's window is closed."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    unacked: int
    (unacked,) = struct.unpack_from("=I", info, 24)
    return unacked == 0


def datagrams() -> Ends:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind((LOOPBACK, 0))
        client.connect(server.getsockname())
        client.send(b"question")
        _, peer = server.recvfrom(99)
        server.sendto(b"the answer", peer)
        client.recv(99)
        return client.getsockname(), server.getsockname()
