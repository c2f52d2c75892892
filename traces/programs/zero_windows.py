"""A receiver that does not read closes its window, first the server, then the client."""

import socket
import time

SIZE = 30_000


def fill(sender: socket.socket, receiver: socket.socket) -> int:
    """Send until the receiver's buffer is full and our own, too; later, all of it is read."""
    sender.setblocking(False)
    sent = 0
    try:
        while True:
            sent += sender.send(bytes(SIZE))
    except BlockingIOError:
        sender.setblocking(True)
    time.sleep(0.5)  # the kernel fills the window up, and then asks whether it is still closed
    left = sent
    while left:
        left -= len(receiver.recv(SIZE))
    return sent


with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
    for sock in listening, client:
        # Before the connection: the window's scale is chosen then.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    client.connect(listening.getsockname())
    data, _ = listening.accept()
    with data:
        print("to the server:", fill(client, data), "bytes")
        print("to the client:", fill(data, client), "bytes")
