"""A socketserver that serves each client in a thread or in a forked process."""

import socket
import socketserver
import sys
import threading


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


servers = {
    "threading": socketserver.ThreadingTCPServer,
    "forking": socketserver.ForkingTCPServer,
}


def ask(address: tuple[str, int], text: str) -> str:
    with socket.create_connection(address) as sock, sock.makefile("rw") as file:
        file.write(text + "\n")
        file.flush()
        return file.readline().strip()


with servers[sys.argv[1]](("127.0.0.1", 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="server")
    thread.start()
    print(*(ask(server.server_address, word) for word in ("one", "two")))
    server.shutdown()
    thread.join()
