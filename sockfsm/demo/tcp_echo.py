"""A TCP echo server and its client: connection-oriented communication, step by step.

Plain `socket`, nothing of sockfsm: `sockfsm run` traces programs like these unchanged.
"""

import socket
from collections.abc import Callable


def server(ready: Callable[[int], None]) -> None:
    """Serve one client on a free port of 127.0.0.1; `ready` gets the port."""
    # 1. Say what we want: a stream, for a server (AI_PASSIVE). 2. Have it resolved.
    results = socket.getaddrinfo(
        "127.0.0.1", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
    )
    family, type_, proto, _, address = results[0]
    # 3. Create the listening socket.
    listening = socket.socket(family, type_, proto)
    # A port whose last connections are in TIME_WAIT may be bound again.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # 4. Give it a name. Port 0: the kernel chooses a free one.
    listening.bind(address)
    # 5. Listen for connection requests.
    listening.listen(5)
    ready(listening.getsockname()[1])
    # 6. Accept one. That makes a NEW socket, the data socket; this one goes on listening.
    data, _ = listening.accept()
    # 7. Read and write on the data socket, until the client has sent everything.
    while message := data.recv(1024):
        data.sendall(message)
    # 8. Close both.
    data.close()
    listening.close()


def client(port: int, message: bytes) -> bytes:
    """Send `message`, and return what comes back. OSError if nobody answers on `port`."""
    # 1., 2. Resolve. Without a host it is this machine, usually with an IPv6 and an IPv4 address.
    for family, type_, proto, _, address in socket.getaddrinfo(None, port, type=socket.SOCK_STREAM):
        # 3. Create a socket. 4. No bind: the kernel assigns a port.
        sock = socket.socket(family, type_, proto)
        try:
            # 5. Connect. The server may listen at only one of the addresses: try them in turn.
            sock.connect(address)
        except OSError:
            sock.close()
            continue
        break
    else:
        raise ConnectionRefusedError(f"nobody listens on port {port}")
    # 6. Send, and say that this was all. Then receive until the server has sent everything.
    sock.sendall(message)
    sock.shutdown(socket.SHUT_WR)
    answer = b""
    while part := sock.recv(1024):
        answer += part
    # 7. Close.
    sock.close()
    return answer
