"""Calls in the wrong order: the kernel refuses each with an errno."""

import socket


def attempt(call, *arguments):  # type: ignore[no-untyped-def]
    try:
        call(*arguments)
    except OSError as error:
        print(f"{call.__name__}: {error.strerror}")


server = socket.socket()
server.bind(("127.0.0.1", 0))
attempt(server.accept)  # before listen
server.listen()
client = socket.create_connection(server.getsockname())
attempt(server.recv, 1024)  # data go over the socket that accept returns
data, _ = server.accept()
attempt(data.listen)  # it is a connection's end
client.close()
data.close()
server.close()
attempt(server.accept)  # after close
