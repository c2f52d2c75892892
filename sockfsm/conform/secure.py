"""TLS over the benches' streams, without certificates: anonymous ECDH, TLS 1.2."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial

from sockfsm.conform.bench import outcome_of
from sockfsm.conform.circumstances import Accepting


def context(server: bool) -> ssl.SSLContext:
    """A TLS context that needs no certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
    return made


_GOODBYE = b"\x15\x03\x03\0\2\1\0"
"""The alert close_notify, unencrypted."""


class Secure(Accepting):
    """Wraps the stream once it is connected.

    send() does the handshake until that is complete, and sends close_notify afterwards.
    """

    def begin(self) -> socket.socket:
        self.sock = super().begin()
        self.tls: ssl.SSLSocket | None = None
        self.peer_tls: ssl.SSLSocket | None = None
        return self.sock

    def wrapped(self) -> ssl.SSLSocket:
        """The socket with TLS."""
        if self.tls is None:
            self.sock.setblocking(True)
            self.tls = context(False).wrap_socket(self.sock, do_handshake_on_connect=False)
        return self.tls

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call not in ("send", "recv"):
            return super().deed(self.tls or sock, call)
        tls = self.wrapped()
        deed = partial(tls.recv, 16) if call == "recv" else tls.do_handshake
        return partial(
            _until_its_end, deed if self.peer_tls is None or call == "recv" else tls.unwrap
        )

    def tried(self, sock: socket.socket) -> socket.socket:
        return self.tls or sock

    def act_out(self, act: str) -> None:
        """`!end`: end the peer's stream. `!greet`: both ends do the handshake. `!part`: the peer sends
        close_notify, and its stream goes on. `!goodbye`: the same during the handshake."""
        (end,) = self.ends
        if act == "end":
            end.shutdown(socket.SHUT_WR)
            return
        if act == "goodbye":
            end.send(_GOODBYE)
            return
        if act == "part":
            assert self.peer_tls is not None
            self.peer_tls.settimeout(0.0)
            outcome_of(self.peer_tls.unwrap)
            return
        end.setblocking(True)
        self.peer_tls = context(True).wrap_socket(end, True, do_handshake_on_connect=False)
        self.ends[:] = [self.peer_tls]
        greeting = threading.Thread(target=self.peer_tls.do_handshake)
        greeting.start()
        self.wrapped().do_handshake()
        greeting.join()

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(self.tls or sock)


def _until_its_end(deed: Callable[[], object]) -> object:
    """Turn an end of TLS, clean or not, into the outcome that b'' has."""
    try:
        return deed()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return b""
