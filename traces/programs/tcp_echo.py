"""A TCP echo: the server's and the client's steps, with getaddrinfo."""

import socket
import threading


def serve(listening: socket.socket) -> None:
    data, _ = listening.accept()  # a NEW socket; the listening one goes on
    with data:
        while message := data.recv(1024):
            data.sendall(message)


def client(port: int) -> bytes:
    for family, kind, protocol, _, address in socket.getaddrinfo(
        "localhost", port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.connect(address)
        except OSError:
            sock.close()  # try the next address
        else:
            break
    with sock:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(1024), b""))


family, kind, protocol, _, address = socket.getaddrinfo(
    "127.0.0.1", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
)[0]
with socket.socket(family, kind, protocol) as listening:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen()
    server = threading.Thread(target=serve, args=(listening,), name="server")
    server.start()
    print(client(listening.getsockname()[1]).decode())
    server.join()
