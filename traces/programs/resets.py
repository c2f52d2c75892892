"""Connections that end by RST, for each reason that a program gives its kernel."""

import signal
import socket
import struct
import subprocess
import sys

HERE = "127.0.0.1"
ABORT = struct.pack("ii", 1, 0)  # l_onoff, l_linger


def connected() -> tuple[socket.socket, socket.socket]:
    """A client and the data socket that accept gave for it."""
    with socket.create_server((HERE, 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        data, _ = listening.accept()
    return client, data


def told(what: str, sock: socket.socket) -> None:
    """What the other end is told of the reset."""
    try:
        print(f"{what}: received {sock.recv(100)!r}")
    except ConnectionResetError as error:
        print(f"{what}: {error.strerror}")
    sock.close()


def unread_data() -> None:
    client, data = connected()
    client.sendall(b"never read")
    data.close()
    told("unread data", client)


def linger() -> None:
    client, data = connected()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    client.close()
    told("SO_LINGER 0", data)


def unread_after_fin() -> None:
    client, data = connected()
    client.shutdown(socket.SHUT_WR)
    data.sendall(b"never read")
    client.close()
    told("unread data after FIN", data)


def data_after_close() -> None:
    client, data = connected()
    data.close()
    client.recv(1)
    client.sendall(b"too late")  # is taken: a FIN only says that the other end sends no more
    told("data after close", client)


def listener_closed() -> None:
    with socket.create_server((HERE, 0)) as listening:
        client = socket.create_connection(listening.getsockname())
    told("listening socket closed", client)


def killed() -> None:
    """The kernel closes what a killed process had, and finds data that it never read."""
    program = (
        "import socket, sys, time; "
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
        "sock.sendall(b'ready'); time.sleep(60)"
    )
    with socket.create_server((HERE, 0)) as listening:
        port = str(listening.getsockname()[1])
        with subprocess.Popen([sys.executable, "-c", program, port]) as client:
            data, _ = listening.accept()
            data.recv(100)
            data.sendall(b"never read")
            client.send_signal(signal.SIGKILL)
    told("killed", data)


unread_data()
linger()
unread_after_fin()
data_after_close()
listener_closed()
killed()
