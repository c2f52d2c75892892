"""Openings of every sort that one machine alone can show, one after the other."""

import socket

HERE = "127.0.0.1"


def normal(family: int, host: str) -> None:
    """SYN, SYN-ACK, ACK: connect returns, and accept gives the other end."""
    with socket.create_server((host, 0), family=family) as listening:
        client = socket.create_connection(listening.getsockname()[:2])
        data, _ = listening.accept()
        with client, data:
            client.sendall(b"hello")
            print("normal:", data.recv(100).decode())


def refused() -> None:
    """Nobody listens on that port: RST."""
    with socket.socket() as bound, socket.socket() as client:
        bound.bind((HERE, 0))  # has the port, and does not listen
        try:
            client.connect(bound.getsockname())
        except ConnectionRefusedError as error:
            print("refused:", error.strerror)


def not_accepted_yet() -> None:
    """connect succeeds and data may be sent although accept was never called: the kernel did it."""
    listening = socket.create_server((HERE, 0))
    with listening, socket.create_connection(listening.getsockname()) as client:
        client.sendall(b"is anybody there?")
        print("not accepted yet:", client.getpeername() == listening.getsockname())


def timed_out() -> None:
    """The listening socket's queue is full: the SYN is dropped, and sent again after a second."""
    with socket.socket() as listening:
        listening.bind((HERE, 0))
        listening.listen(0)  # room for one that nobody accepts
        with socket.create_connection(listening.getsockname()), socket.socket() as client:
            client.settimeout(1.3)
            try:
                client.connect(listening.getsockname())
            except TimeoutError as error:
                print("timed out:", error)


def to_itself() -> None:
    """A socket that connects to its own name is both ends of the connection."""
    with socket.socket() as alone:
        alone.bind((HERE, 0))
        alone.connect(alone.getsockname())
        alone.sendall(b"me")
        print("to itself:", alone.recv(100).decode())


normal(socket.AF_INET, HERE)
normal(socket.AF_INET6, "::1")
refused()
not_accepted_yet()
to_itself()
timed_out()
