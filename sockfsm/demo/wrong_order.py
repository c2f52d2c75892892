"""Mistakes that beginners make, each caught: the kernel answers with an errno."""

import socket


def mistakes() -> list[OSError]:
    """Call in the wrong order; the errors that came of it, in order."""
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
    # Data go over the data socket that accept gives, not over the listening socket.
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
