"""An ssl server and client, as the ssl module's documentation writes them."""

import socket
import ssl
import sys
import threading

certificate, key = sys.argv[1:]


def serve(listening: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with context.wrap_socket(listening, server_side=True) as secure:
        conn, _ = secure.accept()
        with conn:
            conn.sendall(conn.recv(1024).upper())
            conn.unwrap().close()


listening = socket.create_server(("127.0.0.1", 0))
address = listening.getsockname()
server = threading.Thread(target=serve, args=(listening,), name="tls server")
server.start()
context = ssl.create_default_context(cafile=certificate)
sock = socket.create_connection(address)
with context.wrap_socket(sock, server_hostname="localhost") as secure:
    secure.sendall(b"hello over tls")
    answer = secure.recv(1024)
    secure.unwrap().close()
server.join()
print(answer.decode(), secure.version())
