"""Closings over a wire that loses segments: wires/closings_lost.nft drops them.

So each end stays in the states that otherwise are over within microseconds.
"""

import socket

HERE = "127.0.0.1"


def connected(port: int) -> tuple[socket.socket, socket.socket]:
    """A client and the data socket that accept gave for it."""
    with socket.create_server((HERE, port)) as listening:
        client = socket.create_connection((HERE, port))
        data, _ = listening.accept()
    return client, data


def close(port: int, client_first: bool = True) -> None:
    """Both ends close in turn, each when the other one's end of file has come."""
    client, data = connected(port)
    first, second = (client, data) if client_first else (data, client)
    with first, second:
        first.sendall(b"hello")
        second.recv(100)
        first.shutdown(socket.SHUT_WR)
        second.recv(1)
        second.close()
        first.recv(1)


def close_together(port: int) -> None:
    """The client's FIN is lost, so the server's meets it: CLOSING."""
    client, data = connected(port)
    with client, data:
        client.shutdown(socket.SHUT_WR)
        data.shutdown(socket.SHUT_WR)
        client.recv(1)
        data.recv(1)


close(5001)
close(5002)
close(5003, client_first=False)
close(5004)
close_together(5005)
