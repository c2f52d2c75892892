"""Surprises, each with three lines of Python that show it. Pure data.

`ends`: the repr of the last line's value, or the name of the errno (or exception) that it raises.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trap:
    """One trap of a kind: `code` runs after `import contextlib, errno, os, socket`."""

    kind: str
    title: str
    text: str
    code: tuple[str, str, str]
    ends: str


# fmt: off
TRAPS = (
    Trap("tcp", "A shutdown() that failed shuts all the same",
         "On a fresh socket shutdown() says ENOTCONN and sets its flag nevertheless: the connection "
         "made later cannot send, and no FIN tells the peer.",
         ("server, s = socket.create_server(('127.0.0.1', 0)), socket.socket()",
          "with contextlib.suppress(OSError): s.shutdown(socket.SHUT_WR)  # ENOTCONN",
          "s.connect(server.getsockname()); s.send(b'x')"), "EPIPE"),
    Trap("tcp", "Data sockets inherit that shutdown from their listener",
         "The flag set in vain before listen() is copied to every data socket that accept() makes.",
         ("s = socket.socket(); s.bind(('127.0.0.1', 0))",
          "with contextlib.suppress(OSError): s.shutdown(socket.SHUT_WR)",
          "s.listen(); c = socket.create_connection(s.getsockname()); s.accept()[0].send(b'x')"),
         "EPIPE"),
    Trap("tcp", "listen() without bind() works",
         "The kernel picks a port; only getsockname() knows it.",
         ("s = socket.socket()", "s.listen()", "s.getsockname()[1] > 0"), "True"),
    Trap("tcp", "A client is connected before accept()",
         "The kernel completes the handshake and takes data for a connection that waits in the queue.",
         ("server = socket.create_server(('127.0.0.1', 0))",
          "s = socket.create_connection(server.getsockname())", "s.send(b'x')"), "1"),
    Trap("tcp", "A refused non-blocking connect(): three answers in a row",
         "Under way, refused, under way again: the second answer made the socket fresh.",
         ("dead, s = socket.socket(), socket.socket(); dead.bind(('127.0.0.1', 0))",
          "s.setblocking(False)",
          "[errno.errorcode[s.connect_ex(dead.getsockname())] for _ in range(3)]"),
         "['EINPROGRESS', 'ECONNREFUSED', 'EINPROGRESS']"),
    Trap("tcp", "Reading SO_ERROR changes what connect() says next",
         "The error is gone once it is read; connect() then has only ECONNABORTED to tell.",
         ("dead, s = socket.socket(), socket.socket(); dead.bind(('127.0.0.1', 0))",
          "s.setblocking(False); s.connect_ex(dead.getsockname()); s.getsockopt(1, 4)",
          "errno.errorcode[s.connect_ex(dead.getsockname())]"), "'ECONNABORTED'"),
    Trap("tcp", "shutdown() after a failed non-blocking connect() ruins the socket",
         "connect() says EINVAL from then on, until it is called with AF_UNSPEC.",
         ("dead, s = socket.socket(), socket.socket(); dead.bind(('127.0.0.1', 0))",
          "with contextlib.suppress(OSError): "
          "s.settimeout(0); s.connect_ex(dead.getsockname()); s.shutdown(socket.SHUT_RD)",
          "s.connect(dead.getsockname())"), "EINVAL"),
    Trap("tcp", "connect() on a non-blocking socket succeeds twice",
         "First EINPROGRESS, then ok, and only the third one says EISCONN.",
         ("server, s = socket.create_server(('127.0.0.1', 0)), socket.socket()",
          "s.setblocking(False)",
          "[s.connect_ex(server.getsockname()) and 1 for _ in range(3)]"), "[1, 0, 1]"),
    Trap("tcp", "After a reset the kernel contradicts itself",
         "getpeername() says ENOTCONN while connect() says EISCONN: one asks TCP, the other the "
         "socket layer.",
         ("server = socket.create_server(('127.0.0.1', 0)); "
          "s = socket.create_connection(server.getsockname())",
          "d = server.accept()[0]; d.setsockopt(1, 13, b'\\1' + bytes(7)); d.close()",
          "(errno.errorcode[s.connect_ex(server.getsockname())], s.getpeername())"), "ENOTCONN"),
    Trap("tcp", "A listener that was shut down can listen again",
         "shutdown(SHUT_RD) makes it a fresh socket: accept() says EINVAL, and listen() revives it.",
         ("s = socket.create_server(('127.0.0.1', 0))", "s.shutdown(socket.SHUT_RD)",
          "s.listen()"), "None"),
    Trap("tcp", "The first send() after the peer closed succeeds",
         "Its data is lost; the RST that comes back makes the next one fail.",
         ("server = socket.create_server(('127.0.0.1', 0)); "
          "s = socket.create_connection(server.getsockname())",
          "server.accept()[0].close(); s.send(b'lost')", "s.send(b'x')"), "EPIPE"),
    Trap("tcp", "Data that comes after both directions were shut resets the connection",
         "Nobody could read it, and Linux says so with a RST.",
         ("server = socket.create_server(('127.0.0.1', 0)); "
          "s = socket.create_connection(server.getsockname())",
          "s.shutdown(socket.SHUT_RDWR); d = server.accept()[0]; d.send(b'x')",
          "s.recv(1)"), "ECONNRESET"),
    Trap("tcp", "A socket can be connected to itself",
         "connect() to its own port meets its own SYN (a simultaneous open): what it sends, it "
         "receives.",
         ("s = socket.socket(); s.bind(('127.0.0.1', 0))", "s.connect(s.getsockname()); s.send(b'x')",
          "s.recv(1)"), "b'x'"),
    Trap("udp", "A shutdown() that failed shuts all the same",
         "ENOTCONN, and yet a blocking recv() no longer waits.",
         ("s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))",
          "with contextlib.suppress(OSError): s.shutdown(socket.SHUT_RD)  # ENOTCONN",
          "s.recv(1)"), "b''"),
    Trap("udp", "A send() that failed binds the socket",
         "EDESTADDRREQ, but a port was taken before the kernel noticed: bind() is too late.",
         ("s = socket.socket(type=socket.SOCK_DGRAM)",
          "with contextlib.suppress(OSError): s.send(b'x')  # EDESTADDRREQ",
          "s.bind(('127.0.0.1', 0))"), "EINVAL"),
    Trap("udp", "A refusal is reported by the next call",
         "The first send() to a dead port succeeds; the ICMP answer makes the second one fail.",
         ("dead = socket.socket(type=socket.SOCK_DGRAM); dead.bind(('127.0.0.1', 0)); "
          "at = dead.getsockname(); dead.close()",
          "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(at); s.send(b'x')",
          "s.send(b'x')"), "ECONNREFUSED"),
    Trap("udp", "With a timeout a refusal looks like waiting",
         "Python waits until the socket is ready before it asks the kernel, and a call that would be "
         "refused may never be ready: here accept(), which gives EOPNOTSUPP without a timeout.",
         ("s = socket.socket(type=socket.SOCK_DGRAM)", "s.settimeout(0.01)",
          "s.accept()"), "TimeoutError"),
    Trap("unix-stream", "A path outlives its socket",
         "close() leaves the path behind, and the next bind() finds it.",
         ("s = socket.socket(socket.AF_UNIX); s.bind('server'); s.close()",
          "s = socket.socket(socket.AF_UNIX)", "s.bind('server')"), "EADDRINUSE"),
    Trap("unix-stream", "bind() on a connected socket",
         "A client without a name may still take one, which nobody can connect to.",
         ("a, b = socket.socketpair()", "a.bind('late')", "a.getsockname()"), "'late'"),
    Trap("unix-stream", "A listener that was shut down stays dead",
         "listen() succeeds and does not revive it, unlike TCP's: clients are refused.",
         ("s = socket.socket(socket.AF_UNIX); s.bind('server'); s.listen()",
          "s.shutdown(socket.SHUT_RD); s.listen()",
          "socket.socket(socket.AF_UNIX).connect('server')"), "ECONNREFUSED"),
    Trap("unix-dgram", "A dead peer is reported once, and forgotten",
         "ECONNREFUSED first; the kernel has disconnected the socket, and says ENOTCONN from then on.",
         ("a, b = socket.socketpair(type=socket.SOCK_DGRAM); b.close()",
          "with contextlib.suppress(OSError): a.send(b'x')  # ECONNREFUSED", "a.send(b'x')"),
         "ENOTCONN"),
    Trap("unix-dgram", "EPIPE comes before ENOTCONN",
         "shutdown(SHUT_WR) is let through without a peer, and decides what send() says.",
         ("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
          "s.shutdown(socket.SHUT_WR)", "s.send(b'x')"), "EPIPE"),
)
