"""multiprocessing.connection over a UNIX socket, between two processes."""

import multiprocessing
import sys
from multiprocessing.connection import Client, Listener


def client(address: str) -> None:
    with Client(address, authkey=b"secret") as conn:
        conn.send(["hello", 1])
        assert conn.recv() == [1, "hello"]


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    with Listener(sys.argv[1], family="AF_UNIX", authkey=b"secret") as listener:
        process = multiprocessing.Process(target=client, args=(sys.argv[1],))
        process.start()
        with listener.accept() as conn:
            conn.send(list(reversed(conn.recv())))
        process.join()
    print("ok", process.exitcode)
