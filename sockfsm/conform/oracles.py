"""What independent sources expect: other projects' tests, and man pages. Pure data.

A test is cited by its name, a man page by the gist of the sentence. `differs` explains where the
model and the kernel do not agree with the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sockfsm.model.predict import predict

_BLOCKING = {"mode": "blocking"}
_REFUSES = {"peer": "refuses"}


@dataclass(frozen=True)
class Fact:
    """A source says that the last of `calls` ends with `outcome`."""

    source: str
    place: str
    kind: str
    calls: str
    outcome: str
    given: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""

    @property
    def model(self) -> str:
        """The outcome that the model predicts; `eof` for the end of a stream."""
        last = predict(self.kind, self.calls, given=self.given)[-1]
        return "eof" if last.end_of_stream else last.outcome

    @property
    def agrees(self) -> bool:
        """Whether the model says the same."""
        return self.model == self.outcome


LTP = "Linux Test Project"
GVISOR = "gVisor test/syscalls/linux"
MAN = "man-pages"

# fmt: off
FACTS = (
    Fact(LTP, "listen01: bad file descriptor", "tcp", "close listen", "EBADF"),
    Fact(LTP, "listen01: UDP listen", "udp", "listen", "EOPNOTSUPP"),
    Fact(LTP, "accept01: bad file descriptor", "tcp", "close accept", "EBADF"),
    Fact(LTP, "accept01: no queued connections (bound, not listening)", "tcp", "bind accept",
         "EINVAL"),
    Fact(LTP, "accept01: UDP accept", "udp", "bind accept", "EOPNOTSUPP"),
    Fact(LTP, "connect01: bad file descriptor", "tcp", "close connect", "EBADF"),
    Fact(LTP, "connect01: already connected", "tcp", "connect connect", "EISCONN", _BLOCKING),
    Fact(LTP, "connect01: connection refused", "tcp", "connect", "ECONNREFUSED",
         {**_BLOCKING, **_REFUSES}),
    Fact(LTP, "connect01: invalid address family", "tcp", "connect", "EAFNOSUPPORT",
         {"target": "family"}),
    Fact(LTP, "connect01: invalid salen", "tcp", "connect", "EINVAL", {"target": "invalid"}),
    Fact(GVISOR, "tcp_socket: ConnectOnEstablishedConnection", "tcp", "connect connect", "EISCONN",
         _BLOCKING),
    Fact(GVISOR, "tcp_socket: ConnectOnEstablishedConnection (accepted)", "tcp", "accepted connect",
         "EISCONN"),
    Fact(GVISOR, "tcp_socket: ShutdownWriteInTimeWait", "tcp", "accepted shutdown_wr shutdown_wr",
         "ENOTCONN", {"peer": "closes"}),
    Fact(GVISOR, "tcp_socket: ShutdownWriteInFinWait1", "tcp", "accepted shutdown_wr shutdown_wr",
         "ok"),
    Fact(GVISOR, "tcp_socket: SendUnconnected", "tcp", "send", "EPIPE"),
    Fact(GVISOR, "tcp_socket: ZeroWriteAllowed (nothing to read)", "tcp", "accepted recv", "EAGAIN"),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectRetry (first)", "tcp", "connect", "ECONNREFUSED",
         {**_BLOCKING, **_REFUSES}),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListener (connect)", "tcp", "connect",
         "EINPROGRESS", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListener (SO_ERROR)", "tcp", "connect so_error",
         "ECONNREFUSED", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListener (read)", "tcp", "connect so_error recv",
         "eof", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListener (again)", "tcp",
         "connect so_error recv connect", "ECONNABORTED", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListenerRead (first)", "tcp", "connect recv",
         "ECONNREFUSED", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListenerRead (second)", "tcp",
         "connect recv recv", "eof", _REFUSES),
    Fact(GVISOR, "tcp_socket: NonBlockingConnectNoListenerRead (connect)", "tcp",
         "connect recv recv connect", "ECONNABORTED", _REFUSES),
    Fact(GVISOR, "tcp_socket: SelfConnectSendRecv (connect)", "tcp", "bind connect", "ok",
         {**_BLOCKING, "peer": "itself"}),
    Fact(GVISOR, "socket_inet_loopback: TCPListenUnbound", "tcp", "listen", "ok"),
    Fact(GVISOR, "socket_inet_loopback: TCP (listener's shutdown)", "tcp",
         "bind listen shutdown_rdwr", "ok"),
    Fact(GVISOR, "socket_inet_loopback: DualStackSocketTest (bind after connect)", "udp",
         "connect bind", "EINVAL"),
    Fact(GVISOR, "socket_inet_loopback: DualStackSocketTest (bind after sendto)", "udp",
         "send bind", "EINVAL", {"to": "address"}),
    Fact(GVISOR, "udp_socket: SendNotConnected (send)", "udp", "send", "EDESTADDRREQ"),
    Fact(GVISOR, "udp_socket: SendNotConnected (sendto)", "udp", "send", "ok", {"to": "address"}),
    Fact(GVISOR, "udp_socket: ReceiveNotBound", "udp", "recv", "EAGAIN"),
    Fact(GVISOR, "udp_socket: Bind (again)", "udp", "bind bind", "EINVAL"),
    Fact(GVISOR, "udp_socket: BindInUse", "udp", "bind", "EADDRINUSE", {"address": "taken"}),
    Fact(GVISOR, "udp_socket: ConnectWriteToInvalidPort (SO_ERROR)", "udp", "connect send so_error",
         "ECONNREFUSED", {"peer": "dead"}),
    Fact(GVISOR, "udp_socket: Disconnect, connect again", "udp", "bind connect disconnect connect",
         "ok"),
    Fact(GVISOR, "udp_socket: ConnectBadAddress", "udp", "connect", "EINVAL",
         {"target": "invalid"}),
    Fact(GVISOR, "udp_socket: ConnectAndSendNoReceiver (second)", "udp", "connect send send",
         "ECONNREFUSED", {"peer": "dead"}),
    Fact(GVISOR, "udp_socket: ConnectAndSendNoReceiver (third)", "udp", "connect send send send",
         "ok", {"peer": "dead"}),
    Fact(GVISOR, "udp_socket: ConnectAndSendNoReceiver (fourth)", "udp",
         "connect send send send send", "ECONNREFUSED", {"peer": "dead"}),
    Fact(GVISOR, "udp_socket: DisconnectAfterBind (still bound, port given by number)", "udp",
         "bind connect disconnect bind", "EINVAL",
         differs="There the port was given by number and stays; the reference environment binds to "
         "port 0, and an assigned port is given back."),
    Fact(GVISOR, "accept_bind_stream: BoundSenderAddrCoalesced (bind when connected)",
         "unix-stream", "connect bind", "ok"),
    Fact(MAN, "bind(2): EINVAL, already bound", "tcp", "bind bind", "EINVAL"),
    Fact(MAN, "bind(2): EINVAL, already bound", "unix-stream", "bind bind", "EINVAL"),
    Fact(MAN, "listen(2): EOPNOTSUPP, not of a type that listens", "unix-dgram", "listen",
         "EOPNOTSUPP"),
    Fact(MAN, "accept(2): EINVAL, not listening", "unix-stream", "accept", "EINVAL"),
    Fact(MAN, "accept(2): EOPNOTSUPP, not a stream", "unix-dgram", "accept", "EOPNOTSUPP"),
    Fact(MAN, "accept(2): EAGAIN, no connections", "unix-stream", "bind listen accept", "EAGAIN"),
    Fact(MAN, "connect(2): EALREADY, a previous attempt is not complete", "tcp", "connect connect",
         "EALREADY", {"peer": "silent"}),
    Fact(MAN, "connect(2): EINPROGRESS", "tcp", "connect", "EINPROGRESS"),
    Fact(MAN, "connect(2): EAGAIN, UNIX sockets that cannot complete at once", "unix-stream",
         "connect", "EAGAIN", {"target": "full"}),
    Fact(MAN, "connect(2): datagrams may connect again", "udp", "connect connect", "ok"),
    Fact(MAN, "connect(2): AF_UNSPEC dissolves the association", "udp", "connect disconnect", "ok"),
    Fact(MAN, "connect(2): AF_UNSPEC dissolves the association", "tcp", "connect disconnect", "ok"),
    Fact(MAN, "recv(2): ENOTCONN, not connected", "tcp", "recv", "ENOTCONN"),
    Fact(MAN, "recv(2): ENOTCONN, not connected", "unix-stream", "recv", "ENOTCONN",
         differs="UNIX streams say EINVAL, by the kernel's own source and by measurement."),
    Fact(MAN, "send(2): ENOTCONN, not connected and no target", "tcp", "send", "ENOTCONN",
         differs="TCP says EPIPE (gVisor's SendUnconnected expects it, too)."),
    Fact(MAN, "send(2): ENOTCONN, not connected and no target", "unix-stream", "send", "ENOTCONN"),
    Fact(MAN, "send(2): EDESTADDRREQ, no peer address", "udp", "send", "EDESTADDRREQ"),
    Fact(MAN, "send(2): EDESTADDRREQ, no peer address", "unix-dgram", "send", "EDESTADDRREQ",
         differs="UNIX datagrams say ENOTCONN."),
    Fact(MAN, "send(2): EPIPE, the local end has been shut down", "tcp",
         "connect connect shutdown_wr send", "EPIPE"),
    Fact(MAN, "shutdown(2): ENOTCONN, not connected", "tcp", "shutdown_wr", "ENOTCONN"),
    Fact(MAN, "shutdown(2): ENOTCONN, not connected", "udp", "shutdown_wr", "ENOTCONN"),
    Fact(MAN, "shutdown(2): ENOTCONN, not connected", "unix-stream", "shutdown_wr", "ENOTCONN",
         differs="UNIX sockets let it through, and keep the flag."),
    Fact(MAN, "unix(7): EADDRINUSE, the path exists", "unix-stream", "bind", "EADDRINUSE",
         {"address": "taken"}),
    Fact(MAN, "unix(7): ECONNREFUSED, not a listening socket", "unix-stream", "connect",
         "ECONNREFUSED", {"target": "dead"}),
    Fact(MAN, "unix(7): ENOENT, the path does not exist", "unix-stream", "connect", "ENOENT",
         {"target": "absent"}),
    Fact(MAN, "unix(7): EISCONN, connect() on a connected socket", "unix-stream",
         "connect connect", "EISCONN"),
    Fact(MAN, "unix(7): EPROTOTYPE, the type differs", "unix-dgram", "connect", "EPROTOTYPE",
         {"target": "othertype"}),
    Fact(MAN, "udp(7): ECONNREFUSED, no receiver was there", "udp", "connect send recv",
         "ECONNREFUSED", {"peer": "dead"}),
    Fact(MAN, "close(2): EBADF", "tcp", "close send", "EBADF"),
)
