"""Connections of every sort, each under the name of its function: what tests/test_join.py traces.

Prints, as JSON, name -> [client port, server port]. Started with a port, it is another program: a
client that sends, and ends as its second argument says.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from asleep import asleep

HERE = "127.0.0.1"
ABORT = struct.pack("ii", 1, 0)
CORK = socket.IPPROTO_TCP, socket.TCP_CORK


def connected(**options):
    with socket.create_server((HERE, 0)) as listening:
        client = socket.socket()
        for level, name, value in options.get("before", ()):
            client.setsockopt(level, name, value)
        client.connect(listening.getsockname())
        data, _ = listening.accept()
    return client, data


def ports(client):
    return client.getsockname()[1], client.getpeername()[1]


def take(sock, size):
    while size > 0:
        size -= len(sock.recv(size))


def waiting(*calls):
    """A thread that makes these calls, each of which blocks; `ready` when the next one does."""
    thread = threading.Thread(target=lambda: [call() for call in calls], daemon=True)
    thread.start()
    return thread


def corked():
    client, data = connected()
    client.setsockopt(*CORK, 1)
    for size in (10, 20, 30):
        client.sendall(bytes(size))
    client.setsockopt(*CORK, 0)
    take(data, 60)
    yield client, data


def more():
    client, data = connected()
    client.send(bytes(10), socket.MSG_MORE)
    client.send(bytes(20))
    take(data, 30)
    yield client, data


def corked_to_the_end():
    """The last bytes go out with the FIN."""
    client, data = connected()
    client.setsockopt(*CORK, 1)
    client.sendall(bytes(10))
    client.shutdown(socket.SHUT_WR)
    take(data, 10)
    yield client, data


def cut():
    """One send in many segments, larger than what goes over a real wire at once."""
    client, data = connected(before=[(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)])
    thread = waiting(lambda: take(data, 400_000))
    client.sendall(bytes(400_000))
    thread.join()
    yield client, data


def partly():
    """A socket that does not block takes a part; the rest is another send's."""
    client, data = connected()
    client.setblocking(False)
    left = 8_000_000
    while left > 0:
        try:
            left -= client.send(bytes(min(left, 3_000_000)))
        except BlockingIOError:
            take(data, 500_000)
    client.setblocking(True)
    client.shutdown(socket.SHUT_WR)
    while data.recv(1 << 20):
        pass
    yield client, data


def file():
    client, data = connected()
    with tempfile.TemporaryFile() as source:
        source.write(bytes(5000))
        source.seek(0)
        client.sendfile(source)
    take(data, 5000)
    yield client, data


def lingering():
    client, data = connected()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    found = ports(client)
    thread = waiting(lambda: failing(data.recv, 1))
    asleep(thread)
    client.close()
    thread.join()
    yield found, data


def failing(call, *args):
    try:
        call(*args)
    except OSError:
        return
    raise AssertionError("no error")


def refused():
    with socket.socket() as free, socket.socket() as client:
        free.bind((HERE, 0))
        client.bind((HERE, 0))
        failing(client.connect, free.getsockname())
        yield (client.getsockname()[1], free.getsockname()[1]), None


def same_ports():
    """Twice: the first connection is reset, the second one is not, and has other sockets."""
    with socket.create_server((HERE, 0)) as listening:
        name = None
        for linger in (ABORT, bytes(8)):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.bind(name or (HERE, 0))
            name = client.getsockname()
            client.connect(listening.getsockname())
            data, _ = listening.accept()
            client.sendall(b"same")
            take(data, 4)
            found = ports(client)
            client.close()
            data.close()
    yield found, None


def waits():
    """Each wait begins before that for which it waits."""
    with socket.create_server((HERE, 0)) as listening:
        accepted = []
        thread = waiting(lambda: accepted.append(listening.accept()[0]))
        asleep(thread)
        client = socket.create_connection(listening.getsockname())
        thread.join()
    data = accepted[0]
    for act in (lambda: client.sendall(b"hello"), lambda: client.shutdown(socket.SHUT_WR)):
        thread = waiting(lambda: data.recv(9))
        asleep(thread)
        act()
        thread.join()
    yield client, data


def kept_alive():
    client, data = connected()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    time.sleep(1.2)  # the kernel counts in seconds
    yield client, data


def another_program(end, *options):
    with socket.create_server((HERE, 0)) as listening:
        port = listening.getsockname()[1]
        child = subprocess.Popen([sys.executable, *options, __file__, str(port), end])
        data, peer = listening.accept()
        take(data, 5)
        if end == "hang":
            asleep(child)  # its last call is in its log then
            child.send_signal(signal.SIGKILL)
        child.wait()
        failing(data.recv, 1) if end == "unread" else data.recv(1)
        return (peer[1], port), data


def killed():
    yield another_program("hang")


def exited():
    yield another_program("exit")


def untraced():
    yield another_program("close", "-E")


def shared():
    """The parent closes first: the FIN comes when the child, which holds it too, is gone."""
    client, data = connected()
    found = ports(client)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    client.close()
    os.write(write, b"x")
    os.waitpid(child, 0)
    data.recv(1)
    yield found, data


def other(port, end):
    client = socket.create_connection((HERE, port))
    client.sendall(b"hello")
    if end == "hang":
        signal.pause()
    if end == "exit":
        os._exit(0)
    client.close()


def datagrams(family, host):
    with (
        socket.socket(family, socket.SOCK_DGRAM) as target,
        socket.socket(family, socket.SOCK_DGRAM) as source,
    ):
        target.bind((host, 0))
        name = target.getsockname()[:2]
        source.sendto(b"unconnected", name)
        target.recvfrom(100)
        source.connect(name)
        source.send(b"connected")
        target.recv(3)  # truncated
        source.send(b"", 0)
        target.recv(1)
        source.send(b"one ", socket.MSG_MORE)
        source.send(b"datagram")
        target.recv(100)
        yield (source.getsockname()[1], name[1]), None


def udp4():
    yield from datagrams(socket.AF_INET, HERE)


def udp6():
    yield from datagrams(socket.AF_INET6, "::1")


def multicast():
    group = "224.5.6.7"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        target.bind(("", 0))
        member = socket.inet_aton(group) + socket.inet_aton(HERE)
        target.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        source.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
        port = target.getsockname()[1]
        thread = waiting(lambda: target.recvfrom(100))
        asleep(thread)
        source.sendto(b"to all", (group, port))
        thread.join()
        yield (source.getsockname()[1], port), None


CASES = (
    corked, more, corked_to_the_end, cut, partly, file, lingering, refused, same_ports, waits,
    kept_alive, killed, exited, untraced, shared, udp4, udp6, multicast,
)  # fmt: skip


def main():
    found = {}
    for case in CASES:
        for client, data in case():
            found[case.__name__] = client if isinstance(client, tuple) else ports(client)
            for sock in (client, data):
                if isinstance(sock, socket.socket):
                    sock.close()
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        other(int(sys.argv[1]), sys.argv[2])
    else:
        main()
