"""The fresh-socket shutdown trap: a call that fails, and yet changes the socket."""

import socket

server = socket.create_server(("127.0.0.1", 0))
client = socket.socket()
try:
    client.shutdown(socket.SHUT_WR)
except OSError as error:
    print("shutdown:", error.strerror)
client.connect(server.getsockname())
try:
    client.send(b"hello")
except OSError as error:
    print("send:", error.strerror)
client.close()
server.close()
