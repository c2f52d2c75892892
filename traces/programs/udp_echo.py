"""A UDP echo: nothing to listen for, nothing to accept."""

import socket
import threading


def serve(sock: socket.socket) -> None:
    for _ in range(2):
        message, sender = sock.recvfrom(1024)
        sock.sendto(message, sender)


with (
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
):
    sock.bind(("127.0.0.1", 0))
    server = threading.Thread(target=serve, args=(sock,), name="server")
    server.start()
    client.sendto(b"hello", sock.getsockname())  # the kernel assigns the client's port
    print(client.recvfrom(1024)[0].decode())
    client.connect(sock.getsockname())  # remembers the peer; no packet goes over the wire
    client.send(b"again")
    print(client.recv(1024).decode())
    server.join()
