"""The lives of sockets that the surroundings are tried with."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

Socket, shown, kind, size, instance = socket.socket, repr, type, len, isinstance
"""What the program may replace, as it was."""
NOBODY = 65534


def say(case: str, told: Any) -> None:
    """One line, at once: what follows may end the process."""
    text = told if kind(told) is str else shown(told)
    os.write(1, f"{case} -> {text}\n".encode("utf-8", "backslashreplace"))


def tried(case: str, call: Callable[..., Any], *args: Any) -> Any:
    """The call's result; what it raised is said."""
    try:
        return call(*args)
    except BaseException as error:  # noqa: BLE001 - it is what we look for
        behind = [kind(e).__name__ for e in (error.__cause__, error.__context__) if e is not None]
        say(
            case,
            f"{kind(error).__name__}{error.args!r} {getattr(error, 'filename', None)} {behind}",
        )
        return None


def tcp(case: str) -> None:
    """A TCP connection's life."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    client = socket.socket()
    client.connect(server.getsockname())
    data, address = server.accept()
    client.sendall(b"hello")
    say(case, (data.recv(3), data.recv(3), address == client.getsockname(), kind(data).__name__))
    client.shutdown(socket.SHUT_WR)
    data.settimeout(500)
    say(f"{case} end", data.recv(9))
    with contextlib.ExitStack() as stack:
        for each in (server, client, data):
            stack.enter_context(each)
    say(f"{case} closed", [each.fileno() for each in (server, client, data)])


def udp(case: str) -> None:
    """A datagram's life."""
    one, two = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    two.connect(one.getsockname())
    say(case, (two.send(b"datagram"), one.recvfrom(99)[0]))
    one.close()
    two.close()


def unix(case: str) -> None:
    """A UNIX socket's life, with and without a path."""
    one, two = socket.socketpair()
    one.sendmsg([b"pair", memoryview(b"")])
    buffer = bytearray(9)
    say(case, (two.recv_into(buffer), bytes(buffer)))
    one.close()
    two.close()
    server = socket.socket(socket.AF_UNIX)
    path = f"\0dropin-{os.getpid()}-{case}"
    server.bind(path)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    data = server.accept()[0]
    data.send(b"x")
    say(f"{case} path", client.recv(9))
    for each in (server, client, data):
        each.close()


def datagrams(case: str) -> None:
    """UNIX datagrams."""
    one, two = socket.socketpair(type=socket.SOCK_DGRAM)
    one.send(b"unix datagram")
    say(case, two.recv(99))
    one.close()
    two.close()


def refused(case: str) -> None:
    """What the kernel refuses."""
    sock = socket.socket()
    for name, call in {
        "connect": lambda: sock.connect(("127.0.0.1", 1)),
        "accept": lambda: sock.accept(),
        "send": lambda: sock.send(b"x"),
        "recv": lambda: sock.recv(1),
        "listen": lambda: sock.listen(None),  # type: ignore[arg-type]  # a call that fails
        "shutdown": lambda: sock.shutdown(2),
        "fileno": lambda: socket.socket(fileno=9999),
        "family": lambda: socket.socket(99),
    }.items():
        tried(f"{case} {name}", call)
    sock.close()
    tried(f"{case} closed", sock.recv, 1)


def lives(case: str) -> None:
    """All of them, each on its own."""
    for life in (tcp, udp, unix, datagrams, refused):
        tried(f"{case} {life.__name__} failed", life, f"{case} {life.__name__}")


def opened(case: str) -> None:
    """How many descriptors are open, asked without opening one."""
    found = []
    for number in range(64):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    say(f"{case} descriptors", found)


def secure(case: str) -> None:
    """TLS as far as it goes without a certificate: both ends see the handshake fail."""
    one, two = socket.socketpair()
    one.settimeout(500)
    two.settimeout(500)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    thread = threading.Thread(
        target=lambda: tried(f"{case} server", lambda: context.wrap_socket(one, True))
    )
    thread.start()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    tried(f"{case} client", client.wrap_socket, two)
    thread.join()
    one.close()
    two.close()
