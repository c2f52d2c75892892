"""Both ends connect to each other at the same time, and close at the same time.

wires/simultaneous.py is the wire: slow, and it makes each end a host of its own.
"""

import select
import socket
import time

HERE, THERE = "10.9.0.1", "10.9.0.2"

with socket.socket() as first, socket.socket() as second:
    first.bind((HERE, 5001))
    second.bind((HERE, 5002))
    for sock, port in ((first, 5002), (second, 5001)):
        sock.setblocking(False)
        sock.connect_ex((THERE, port))
    for sock in first, second:
        select.select([], [sock], [])
        print("connected:", sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)
        sock.setblocking(True)
    first.sendall(b"hello")
    print(second.recv(100).decode())
    first.shutdown(socket.SHUT_WR)
    second.shutdown(socket.SHUT_WR)
    print("ended:", first.recv(1) == second.recv(1) == b"")
time.sleep(1)  # the kernel's last acknowledgements are still under way
