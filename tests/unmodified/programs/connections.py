"""Pipes, queues, managers, listeners of multiprocessing, and a descriptor's number that is used again.

python connections.py fork|spawn|forkserver
"""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import Client, Connection, Listener


def double(connection):
    connection.send(connection.recv() * 2)
    connection.close()


def put(queue):
    queue.put("x" * 100_000)


def main():
    context = multiprocessing.get_context(sys.argv[1])
    near, far = context.Pipe()
    process = context.Process(target=double, args=(far,))
    process.start()
    far.close()
    near.send("hey")
    print(near.recv())
    try:
        near.recv()
    except EOFError:
        print("end")
    process.join()
    near.close()
    queue = context.Queue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    print(len(queue.get()))
    process.join()
    with context.Manager() as manager:
        shared = manager.dict()
        shared["a"] = 1
        print(dict(shared))
    for family, address in (("AF_UNIX", None), ("AF_INET", ("127.0.0.1", 0))):
        with Listener(address, family, authkey=b"key") as listener:
            thread = threading.Thread(
                target=lambda name=listener.address: Client(name, authkey=b"key").send([1, 2])
            )
            thread.start()
            with listener.accept() as connection:
                print(connection.recv())
            thread.join()
    near, far = context.Pipe()
    number = near.fileno()
    near.close()
    reading, writing = os.pipe()
    print(number in (reading, writing))
    connection = Connection(reading, writable=False)
    os.write(writing, b"\0\0\0\1x")
    print(connection.recv_bytes())
    connection.close()
    os.close(writing)
    far.close()


if __name__ == "__main__":
    main()
