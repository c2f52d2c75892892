"""Openings over a wire that loses a segment of each: wires/openings_lost.nft drops them."""

import socket
import time

HERE = "127.0.0.1"


def until_served(port: int, what: str) -> None:
    """Something of the opening is lost and sent again after a second; then the server greets."""
    with socket.create_server((HERE, port)) as listening:
        begin = time.monotonic()
        with socket.create_connection((HERE, port)) as client:
            data, _ = listening.accept()
            with data:
                data.sendall(b"welcome")
                message = client.recv(100).decode()
                print(f"{what} lost: {message} after {time.monotonic() - begin:.1f} s")


def given_up(port: int) -> None:
    """The SYN-ACK is lost, the client gives up, and the SYN-ACK comes again: RST."""
    with socket.create_server((HERE, port)), socket.socket() as client:
        client.settimeout(0.3)
        try:
            client.connect((HERE, port))
        except TimeoutError as error:
            print("given up:", error)
        client.close()
        time.sleep(1)  # the listening socket answers again


def never_answered(port: int) -> None:
    """Every SYN is lost; after one more the kernel gives up."""
    with socket.create_server((HERE, port)), socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        try:
            client.connect((HERE, port))
        except TimeoutError as error:
            print("never answered:", error.strerror)


def nobody_left(port: int) -> None:
    """The client's ACK is lost and the listening socket goes: the client is connected to nobody."""
    with socket.create_server((HERE, port)):
        client = socket.create_connection((HERE, port))
    with client:
        client.sendall(b"hello")
        try:
            client.recv(100)
        except ConnectionResetError as error:
            print("nobody left:", error.strerror)


until_served(5001, "SYN")
until_served(5002, "ACK")
given_up(5003)
never_answered(5004)
nobody_left(5005)
