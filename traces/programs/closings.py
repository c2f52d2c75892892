"""Closings without a reset: each end first, three and four segments, half closed, and not at all."""

import socket
import subprocess
import time

Pair = tuple[socket.socket, socket.socket]


def connected() -> Pair:
    """A client and the data socket that accept gave for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
    return client, data


def three_segments(first: socket.socket, second: socket.socket) -> None:
    """The other end closes at once: its FIN carries the acknowledgement of the first one."""
    first.shutdown(socket.SHUT_WR)
    second.recv(1)
    second.close()
    first.recv(1)
    first.close()


def four_segments(first: socket.socket, second: socket.socket) -> None:
    """The other end still has to send: the first FIN is acknowledged long before the second."""
    first.shutdown(socket.SHUT_WR)  # `first` sends no more, and goes on receiving
    second.recv(1)
    time.sleep(0.1)
    second.sendall(b"the rest")
    second.close()
    print("half closed:", first.recv(100).decode())
    first.close()


client, data = connected()
three_segments(client, data)
client, data = connected()
three_segments(data, client)
client, data = connected()
four_segments(client, data)
client, data = connected()
four_segments(data, client)

# A child, which outlives the capture, has the descriptors too: close() here ends and sends nothing.
client, data = connected()
left, right = connected()
descriptors = [client.fileno(), data.fileno(), left.fileno(), right.fileno()]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
subprocess.Popen(["sleep", "600"], pass_fds=descriptors, **quiet).returncode = 0  # left behind
left.shutdown(socket.SHUT_WR)  # of the connection, whoever holds it
for sock in client, data, left, right:
    sock.close()
