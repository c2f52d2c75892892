"""TLS: waits of every mode, both ends of a connection, and both of TLS.

python tls_ends.py CERTIFICATE KEY
"""

import os
import socket
import ssl
import sys
import threading
from functools import partial

served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
served.load_cert_chain(*sys.argv[1:])
asking = ssl.create_default_context()
asking.check_hostname = False
asking.verify_mode = ssl.CERT_NONE
listener = socket.create_server(("127.0.0.1", 0))


def beside(work, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(work(*args)))
    thread.start()
    return thread, results


def connected():
    near = socket.create_connection(listener.getsockname())
    return near, listener.accept()[0]


def pair(**options):
    near, far = connected()
    thread, results = beside(lambda: served.wrap_socket(far, server_side=True))
    client = asking.wrap_socket(near, **options)
    thread.join()
    return client, results[0]


def until_blocked(name):
    """The other thread sleeps in the kernel, in poll or recv."""
    own = threading.get_native_id()
    while True:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/syscall") as file:
                # read and recvfrom; a thread that waits for the interpreter sleeps in another
                if int(task) != own and file.read().split()[0] in name:
                    return


def tell(call):
    try:
        print(call())
    except OSError as error:
        print(type(error).__name__, error.args[:1])


def modes():
    client, server = pair()
    thread, results = beside(client.recv, 10)
    until_blocked(("0", "45", "63", "207"))
    server.send(b"awaited")
    thread.join()
    print(results)
    server.send(b"there")
    while not socket.socket.recv(client, 1, socket.MSG_PEEK):
        pass
    tell(lambda: client.recv(10))
    client.settimeout(0.01)
    tell(lambda: client.recv(10))
    client.setblocking(False)
    tell(lambda: client.recv(10))
    client.setblocking(True)
    return client, server


def orderly(client, server):
    """A close_notify ends TLS and not the stream, which goes on in plain text."""
    thread, results = beside(lambda: (server.recv(10), server.unwrap()))
    plain = client.unwrap()
    thread.join()
    plain.send(b"plain")
    print(results[0][0], results[0][1].recv(10))
    plain.close()
    server.close()


def cut():
    for suppress in (True, False):
        client, server = pair(suppress_ragged_eofs=suppress)
        server.close()
        tell(partial(client.recv, 10))
        client.close()
    near, far = connected()
    far.close()
    tell(lambda: asking.wrap_socket(near))


orderly(*modes())
cut()
listener.close()
