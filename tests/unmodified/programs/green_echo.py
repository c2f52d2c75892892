"""An echo server and three clients of one thread, as the libraries' own examples have them.

python green_echo.py gevent|eventlet
"""

import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
    import gevent

    start, wait, pause = gevent.spawn, gevent.joinall, gevent.sleep
else:
    import warnings

    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()
    start, pause = eventlet.spawn, eventlet.sleep

    def wait(threads):
        for thread in threads:
            thread.wait()


import socket

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(5)
greeted = []


def serve():
    for _ in range(3):
        data, _ = listener.accept()
        start(echo, data)


def echo(data):
    while received := data.recv(1000):
        data.sendall(received)
    data.close()


def talk(number):
    sock = socket.create_connection(listener.getsockname())
    greeted.append(number)
    while len(greeted) < 3:
        pause(0)
    pause(0)  # by now all three echoes wait at once
    pause(0)
    sock.sendall(b"hello")
    received = sock.recv(1000)
    sock.shutdown(socket.SHUT_WR)
    received += sock.recv(1000)
    print(received.decode())
    sock.close()


wait([start(serve), *(start(talk, number) for number in range(3))])
listener.close()
