"""Mistakes that beginners make. The kernel answers each with an errno."""

import socket


def mistakes() -> list[OSError]:
    """Make calls in the wrong order, and return the errors."""
    errors = []
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("127.0.0.1", 0))
    # accept before listen
    try:
        server.accept()
    except OSError as error:
        errors.append(error)
    server.listen()
    client = socket.create_connection(server.getsockname())
    # Data go through the data socket that accept returns, not through the listening socket.
    try:
        server.recv(1024)
    except OSError as error:
        errors.append(error)
    data, _ = server.accept()
    # listen on a connected socket
    try:
        data.listen()
    except OSError as error:
        errors.append(error)
    client.close()
    data.close()
    server.close()
    # use after close
    try:
        server.accept()
    except OSError as error:
        errors.append(error)
    return errors
