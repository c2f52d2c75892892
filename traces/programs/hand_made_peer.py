"""A client and a host that is made by hand: what no kernel would send it.

wires/hand_made_peer.py is that host; each of its ports has a way of its own to answer.
"""

import socket

THERE = "10.9.0.2"


def attempt(what: str, port: int, seconds: float) -> None:
    """Connect to a port that does not let anybody in."""
    with socket.socket() as client:
        client.settimeout(seconds)
        try:
            client.connect((THERE, port))
        except OSError as error:
            print(f"{what}: {error}")


def exchange(what: str, port: int, message: bytes, answered: bool) -> None:
    """Send, read the answer if there is one, close and wait for the other end to close."""
    with socket.create_connection((THERE, port)) as client:
        client.sendall(message)
        if answered:
            print(f"{what}: {client.recv(100).decode()}")
        client.shutdown(socket.SHUT_WR)
        print(f"{what}: ended", client.recv(1) == b"")


def vanished(port: int) -> None:
    """The host opens and then is gone: data are sent again until the kernel gives up."""
    with socket.create_connection((THERE, port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)  # ms
        client.sendall(b"hello?")
        try:
            client.recv(100)
        except TimeoutError as error:
            print("vanished:", error.strerror)


def scanned(port: int) -> None:
    """The host opens half a connection to us: accept never hears of it."""
    with (
        socket.create_server(("10.9.0.1", 0)) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knock,
    ):
        listening.settimeout(0.2)
        knock.sendto(b"%d" % listening.getsockname()[1], (THERE, port))
        try:
            listening.accept()
        except TimeoutError as error:
            print("scanned:", error)


attempt("wrong acknowledgement", 1, 0.5)
attempt("reset in the opening", 2, 5)
exchange("simultaneous", 3, b"", answered=False)
exchange("held window", 4, bytes(2000), answered=False)
exchange("nonsense", 5, b"hello", answered=True)
vanished(6)
scanned(7)
