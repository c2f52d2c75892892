"""A UNIX stream server that finds the name of a server that crashed, and removes it."""

import os
import socket
import threading

PATH = "echo.sock"


def serve(listening: socket.socket) -> None:
    data, _ = listening.accept()
    with data:
        data.sendall(data.recv(1024).upper())


with socket.socket(socket.AF_UNIX) as crashed:
    crashed.bind(PATH)  # and no unlink: the name stays

with socket.socket(socket.AF_UNIX) as listening:
    try:
        listening.bind(PATH)
    except OSError as error:
        print(error.strerror)
        os.unlink(PATH)
        listening.bind(PATH)
    listening.listen()
    server = threading.Thread(target=serve, args=(listening,), name="server")
    server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(PATH)
        client.sendall(b"hello")
        print(client.recv(1024).decode())
    server.join()
os.unlink(PATH)
