"""A UNIX stream server and its client. An old server has left its name behind."""

import os
import socket
from collections.abc import Callable


def crash(path: str) -> None:
    """A server that ends without removing its name: `path` stays, but nobody listens on it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen()
    sock.close()


def server(path: str, ready: Callable[[], None]) -> None:
    """Serve one client at `path`."""
    # 1. Remove the name if an old one is there, or bind fails with EADDRINUSE.
    if os.path.exists(path):
        os.unlink(path)
    # 2. Create the listening socket. 3., 4. Name it: bind puts `path` into the file system.
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    # 5. Listen. 6. Accept a client; that makes the data socket.
    listening.listen()
    ready()
    data, _ = listening.accept()
    # 7. Read. 8. Write the result.
    question = data.recv(1024)
    data.sendall(question.upper())
    # 9. Close the data socket. 10. Close the listening socket.
    data.close()
    listening.close()
    # 11. Unbind: remove the name. 12. Exit.
    os.unlink(path)


def client(path: str, message: bytes) -> bytes:
    """Send `message`, and return the answer."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    sock.sendall(message)
    answer = sock.recv(1024)
    sock.close()
    return answer
