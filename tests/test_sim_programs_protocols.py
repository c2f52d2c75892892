"""More of the standard library in the simulator, as it is: whoever is built on sockets and threads."""

from __future__ import annotations

import pytest
from simulated import complaints, printed, simulated

DATAGRAMS = """
    import asyncio
    class Shouting(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport
        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)
    class Asking(asyncio.DatagramProtocol):
        def __init__(self, answer):
            self.answer = answer
        def datagram_received(self, data, address):
            self.answer.set_result(data)
    async def main():
        loop = asyncio.get_running_loop()
        here, there = ("127.0.0.1", 5353), loop.create_future()
        server, _ = await loop.create_datagram_endpoint(Shouting, local_addr=here)
        client, _ = await loop.create_datagram_endpoint(lambda: Asking(there), remote_addr=here)
        client.sendto(b"datagram")
        print(await there)
        client.close(), server.close()
    asyncio.run(main())
"""
ASYNCIO = """
    import asyncio, socket, threading
    async def echo(reader, writer):
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()
    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(echo, "/simulated/socket")
        reader, writer = await asyncio.open_unix_connection("/simulated/socket")
        writer.write(b"unix")
        writer.write_eof()
        print(await reader.read())
        writer.close(), server.close()
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as sock:
            listening.setblocking(False), sock.setblocking(False)
            await asyncio.gather(loop.sock_connect(sock, listening.getsockname()))
            data, _ = await loop.sock_accept(listening)
            sending = asyncio.create_task(loop.sock_sendall(sock, b"z" * 500_000))
            taken = 0
            while taken < 500_000:
                taken += len(await loop.sock_recv(data, 4096))
            await sending
            print(taken)
            data.close()
        try:
            await asyncio.open_connection("127.0.0.1", 1)
        except ConnectionRefusedError as error:
            print(error)
        answer = loop.create_future()
        tell = lambda: loop.call_soon_threadsafe(answer.set_result, "told")
        threading.Thread(target=tell).start()
        print(await answer, await asyncio.to_thread(sum, [1, 2]))
    asyncio.run(main())
"""
HTTP = """
    import threading, urllib.request
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    class Backwards(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[::-1])
        def log_message(self, *what):
            pass
    server = ThreadingHTTPServer(("", 0), Backwards)
    threading.Thread(target=server.serve_forever).start()
    lengths = []
    def post(number):
        url = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(url, data=b"x%d" % number * 20_000) as answer:
            lengths.append(len(answer.read()))
    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(lengths)
    server.shutdown(), server.server_close()
"""
LOGGING = """
    import logging.handlers, pickle, socketserver, struct, threading
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            length = struct.unpack(">L", self.rfile.read(4))[0]
            print(pickle.loads(self.rfile.read(length))["msg"])
    server = socketserver.TCPServer(("127.0.0.1", 9020), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    log = logging.getLogger("far")
    log.addHandler(logging.handlers.SocketHandler("localhost", 9020))
    log.warning("over the wire")
    thread.join()
"""
CONNECTIONS = """
    import threading
    from multiprocessing.connection import Client, Listener
    with Listener(("127.0.0.1", 6000), authkey=b"key") as listener:
        def serve():
            with listener.accept() as connection:
                connection.send([connection.recv(), "pong"])
        thread = threading.Thread(target=serve)
        thread.start()
        with Client(("127.0.0.1", 6000), authkey=b"key") as connection:
            connection.send("ping")
            print(connection.recv())
        thread.join()
"""
POP = """
    import poplib, socket, threading
    listening = socket.create_server(("127.0.0.1", 110))
    def serve():
        data, _ = listening.accept()
        with data, data.makefile("rwb", buffering=0) as lines:
            lines.write(b"+OK hello\\r\\n")
            for line in lines:
                lines.write(b"+OK 2 320\\r\\n" if line.startswith(b"STAT") else b"+OK\\r\\n")
                if line.startswith(b"QUIT"):
                    break
    thread = threading.Thread(target=serve)
    thread.start()
    box = poplib.POP3("localhost")
    box.user("me"), box.pass_("secret")
    print(box.stat())
    box.quit()
    thread.join()
"""
SELECTORS = """
    import selectors, socket
    for make in selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector:
        selector = make()
        listening, sock = socket.create_server(("127.0.0.1", 0)), socket.socket()
        listening.setblocking(False), sock.setblocking(False)
        selector.register(listening, selectors.EVENT_READ, "accept")
        print(sock.connect_ex(listening.getsockname()))
        selector.register(sock, selectors.EVENT_WRITE, "connect")
        seen = []
        while len(seen) < 3:
            for key, _ in selector.select(5):
                if key.data == "accept":
                    data, _ = listening.accept()
                    data.setblocking(False)
                    selector.register(data, selectors.EVENT_READ, "data")
                elif key.data == "connect":
                    seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                    sock.send(b"q")
                else:
                    seen.append(data.recv(10))
                if key.data != "data":
                    selector.unregister(key.fileobj)
                else:
                    seen.append("end")
        print(seen)
        selector.close(), sock.close(), data.close(), listening.close()
"""
RPC = """
    import threading, xmlrpc.client
    from xmlrpc.server import SimpleXMLRPCServer
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False) as server:
        server.register_function(pow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with xmlrpc.client.ServerProxy("http://127.0.0.1:%d" % server.server_address[1]) as far:
            print(far.pow(2, 10))
        server.shutdown()
"""
SAID = {
    "asyncio": (
        ASYNCIO, "b'unix'", "500000", "[Errno 111] Connect call failed ('127.0.0.1', 1)", "told 3",
    ),
    "datagrams": (DATAGRAMS, "b'DATAGRAM'"),
    "http": (HTTP, "[40000, 40000, 40000, 40000]"),
    "logging": (LOGGING, "over the wire"),
    "connections": (CONNECTIONS, "['ping', 'pong']"),
    "pop": (POP, "(2, 320)"),
    "selectors": (SELECTORS, *["115", "[0, b'q', 'end']"] * 3),
    "rpc": (RPC, "1024"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_runs_as_it_is(name: str, seed: int) -> None:
    text, *said = SAID[name]
    result = simulated(text, seed=seed)
    assert complaints(result) == ""
    assert printed(result) == said
    assert result.good
    assert all(call.explained for call in result.trace.calls())
