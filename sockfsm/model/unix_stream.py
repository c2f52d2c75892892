"""UNIX-domain stream sockets: every transition. Pure data.

A name is a path. It outlives the socket and must be unlinked. connect() is decided at once, before the
other side accepts, so there is no state CONNECTING. Abstract names (a first NUL byte) leave nothing
behind; the machine is about paths.
"""

from __future__ import annotations

from sockfsm.model.lifecycle import (
    DESCRIPTOR,
    STREAM_FACTS,
    STREAM_WORDS,
    SURROUNDINGS,
    UNIX_FACTS,
    UNIX_FLAGS,
    UNIX_WORDS,
    WORDS,
    birth,
    end,
    goodbyes,
    naming,
    naming_itself,
    nothing_asked,
    paths,
    targets,
    too_many_buffers,
)
from sockfsm.model.rules import Rule, Table, rule

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

_CLEAN = "role=fresh peer=open rd=open wr=open"
_RESET = f"name=no {_CLEAN}"
_MEASURED = "measured, Linux 6.18"

_BIRTH = (
    *birth("unix-stream"),
    *birth("unix-stream", "socketpair", "fd=open role=connected"),
    rule("accepted", "fd=none", "ok", "fd=open role=connected",
         why="accept() made this data socket: it is connected, and shows the listening socket's "
         "name without owning its path.", source="accept(2), unix(7)"),
)

_BIND = (
    rule("bind", "role=connected", "ok", given="address=auto made=accept",
         why="A data socket shares the name of the listening socket that it came from.",
         source=_MEASURED),
    *naming_itself(),
    *naming("stale-path"),
    rule("bind", "", "EINVAL", given="address=invalid", why="The address is wrong.",
         source="bind(2)"),
    rule("bind", "name=path|unlinked", "EINVAL",
         why="The socket has a name already: names are for life, even when the path is unlinked.",
         source="bind(2), unix(7)"),
    rule("bind", "role=connected", "EINVAL", given="made=accept",
         why="A data socket shares the name of the listening socket that it came from.",
         source=_MEASURED),
    rule("bind", "role=connected", "ok", "name=path", given="address=free",
         why="A connected socket without a name may still take one: getsockname() shows it, and "
         "nobody can connect to it.", source=_MEASURED, lint="bind-connected"),
    rule("bind", "", "ok", "name=unlinked", given="address=abstract",
         why="An abstract name lives in the kernel alone: no path appears, none has to be removed.",
         source="unix(7)"),
    rule("bind", "", "ok", "name=path", given="address=free",
         why="The path appears in the file system.", source="bind(2), unix(7)",
         note="An abstract name appears nowhere and needs no unlink()."),
)

_LISTEN_ACCEPT = (
    rule("listen", "name=no", "EINVAL",
         why="Nobody could connect to a socket without a name: bind() comes first.",
         source=_MEASURED, note="POSIX names EDESTADDRREQ."),
    rule("listen", "role=fresh", "ok", "role=listening",
         why="The socket waits for connections from now on.", source="listen(2)"),
    rule("listen", "role=listening", "ok",
         why="A second listen() only changes the backlog; it does not revive a listener whose "
         "reading side was shut.", source="listen(2), measured"),
    rule("listen", "", "EINVAL",
         why="The socket is a connection's end: a listening socket must be another one.",
         source="listen(2), POSIX listen()"),
    rule("accept", "", "EMFILE", given="limit=descriptors",
         why="No descriptor is left for the data socket; the connection stays in the queue.",
         source="accept(2)"),
    rule("accept", "", "ENFILE", given="limit=descriptors",
         why="The whole system has as many files open as it may.", source="accept(2)"),
    rule("accept", "role=listening rd=open", "ok", given="queue=waiting",
         why="A connection leaves the queue as a new data socket; this one goes on.",
         source="accept(2)"),
    rule("accept", "role=listening rd=shut", "ok", given="queue=waiting history=partial",
         why="A connection that had come before the reading side was shut.", source=_MEASURED),
    rule("accept", "role=listening rd=shut", "EINVAL", given="mode=blocking",
         why="The listener's reading side was shut: no connection can come any more.",
         source=_MEASURED),
    rule("accept", "role=listening", "ENOBUFS", given="limit=memory",
         why="Not enough memory for the data socket.", source="accept(2)"),
    rule("accept", "role=listening", "ENOMEM", given="limit=memory",
         why="Not enough memory for the data socket.", source="accept(2)"),
    rule("accept", "role=listening", "EINVAL", given="history=partial",
         why="The listener was shut while accept() waited.", source=_MEASURED),
    rule("accept", "role=listening", "EINTR", given="signal=caught",
         why="A signal handler raised while accept() waited.", source="accept(2), signal(7)"),
    rule("accept", "role=listening", "EAGAIN",
         why="No connection waits in the queue: a blocking accept() would wait here.",
         source="accept(2)"),
    rule("accept", "role=connected peer=open rd=open", "EAGAIN", given="mode=timeout peer=waits",
         aside=True,
         why="With a timeout Python waits for the socket to be ready before it asks the kernel: the "
         "wait runs out, and the refusal is never seen.",
         source="CPython Modules/socketmodule.c, measured"),
    rule("accept", "", "EINVAL",
         why="Only a listening socket has a queue to accept from: listen() comes first.",
         source="accept(2)"),
)

_CONNECT = (
    rule("connect", "", "EINVAL", given="target=family|invalid",
         why="The address is wrong, or of another family than the socket.", source=_MEASURED,
         note="POSIX names EAFNOSUPPORT for another family."),
    *targets("connect"),
    rule("connect", "role=listening|connected", "EAGAIN", given="target=full", aside=True,
         why="The listener's queue is full, which the kernel notices before it looks at this "
         "socket.", source=_MEASURED),
    rule("connect", "role=fresh", "EAGAIN", given="target=full",
         why="The listener's queue is full: a blocking connect() would wait here.",
         source="connect(2), unix(7)"),
    rule("connect", "role=listening", "EINVAL",
         why="A listening socket cannot become a client.", source=_MEASURED,
         note="POSIX allows EOPNOTSUPP for a listening socket."),
    rule("connect", "role=connected", "EISCONN",
         why="The socket is the end of one connection for life.", source="connect(2)"),
    rule("connect", "", "ENOMEM", given="limit=memory",
         why="The kernel has no memory for the other end.", source="unix(7)"),
    rule("connect", "", "EINTR", given="signal=caught",
         why="A signal handler raised while connect() waited for room in the queue.",
         source="connect(2), signal(7)"),
    rule("connect", "", "ok", "role=connected",
         why="The connection stands at once, in the listener's queue; accept() need not have been "
         "called. The client needs no name.", source="connect(2), unix(7)"),
)

_SEND = (
    *(rule("send", f"role=listening {open_side}", "EAGAIN", given="mode=timeout", aside=True,
           why="With a timeout Python waits for the socket to be ready before it asks the kernel: "
           "the wait runs out, and the refusal is never seen.",
           source="CPython Modules/socketmodule.c, measured")
      for open_side in ("rd=open", "wr=open")),
    rule("send", "", "EOPNOTSUPP", given="flag=oob length=zero",
         why="One byte at least is urgent.", source=_MEASURED),
    rule("send", "role=fresh|listening", "EOPNOTSUPP", given="to=address",
         why="sendto() with an address is for datagrams.", source="unix(7), measured"),
    rule("send", "role=connected", "EISCONN", given="to=address",
         why="sendto() with an address on a connected stream.", source="send(2), unix(7)"),
    rule("send", "role=fresh", "ENOTCONN", why="There is no connection to send on.",
         source="send(2)"),
    rule("send", "role=listening", "ENOTCONN",
         why="A listening socket carries no data: send on the data socket that accept() returned.",
         source="send(2)"),
    rule("send", "role=connected wr=shut", "EAGAIN", given="room=no mode=timeout", aside=True,
         why="Python waits for room before it asks the kernel, and a shut side has none while the "
         "peer does not read.", source="CPython Modules/socketmodule.c, measured"),
    rule("send", "wr=shut", "EPIPE",
         why="This direction is over: shutdown(SHUT_WR) was called (before connect() counts, too), "
         "or the peer is gone.", source="send(2), shutdown(2)"),
    rule("send", "peer=open", "EPIPE", given="peer=resets",
         why="The peer has closed, or shut its reading side. The listener may have closed before it "
         "accepted.", source="send(2)"),
    rule("send", "", "EPIPE", "peer=closed rd=shut wr=shut", given="peer=closes",
         why="The peer has closed, or shut its reading side.", source="send(2)"),
    rule("send", "", "ECONNRESET", "peer=closed rd=shut wr=shut", given="peer=resets",
         why="The peer closed with our data unread.", source="send(2)"),
    rule("send", "", "ENOBUFS", given="limit=memory", why="The kernel has no memory for the data.",
         source="send(2)"),
    rule("send", "", "ENOMEM", given="limit=memory", why="The kernel has no memory for the data.",
         source="send(2)"),
    rule("send", "", "EINTR", given="signal=caught",
         why="A signal handler raised while send() waited.", source="send(2), signal(7)"),
    rule("send", "", "EAGAIN", given="room=no",
         why="The send buffer is full: a blocking send() would wait for the peer to read.",
         source="send(2)"),
    rule("send", "peer=closed", "ok",
         why="The peer shut its writing side only: it still reads.", source="send(2), shutdown(2)",
         lint="send-after-peer-closed"),
    rule("send", "", "ok",
         why="The data is in the peer's queue; perhaps only a part of it: look at the count.",
         source="send(2), unix(7)"),
)

_RECV = (
    rule("recv", "", "EAGAIN", given="flag=oob mode=timeout peer=waits", aside=True,
         why="With a timeout Python waits for the socket to be ready before it asks the kernel.",
         source="CPython Modules/socketmodule.c, measured"),
    rule("recv", "role=connected", "ok", given="flag=oob urgent=sent", aside=True,
         why="The urgent byte was waiting.", source=_MEASURED),
    rule("recv", "", "EINVAL", given="flag=oob",
         why="No urgent data was sent, or there is no connection.", source=_MEASURED),
    rule("recv", "role=fresh", "EINVAL", why="There is no connection to receive from.",
         source=_MEASURED, note="POSIX names ENOTCONN."),
    rule("recv", "role=listening rd=open", "EAGAIN", given="mode=timeout queue=empty", aside=True,
         why="With a timeout Python waits for the socket to be ready before it asks the kernel: the "
         "wait runs out, and the refusal is never seen.",
         source="CPython Modules/socketmodule.c, measured"),
    rule("recv", "role=listening", "EINVAL",
         why="A listening socket carries no data: receive on the data socket that accept() "
         "returned.", source=_MEASURED, note="POSIX names ENOTCONN."),
    rule("recv", "rd=open", "ok", given="peer=sends", why="Data was waiting.", source="recv(2)"),
    rule("recv", "", "ok", given="peer=sends history=partial",
         why="What came before SHUT_RD or the peer's close is still readable.", source=_MEASURED),
    rule("recv", "peer=closed", "ECONNRESET", given="peer=resets history=partial",
         why="The peer closed with our data unread.", source="unix(7), measured"),
    rule("recv", "peer=closed", "eof",
         why="No more data will come. recv() gives b'' for ever.", source="recv(2)",
         lint="eof-ignored"),
    rule("recv", "", "ECONNRESET", "peer=closed rd=shut wr=shut", given="peer=resets",
         why="The peer closed with our data unread, or the listener closed before it accepted.",
         source=_MEASURED),
    rule("recv", "rd=open", "eof", "peer=closed rd=shut", given="peer=ends|closes",
         why="The peer closed, or shut its writing side: it will send no more.", source="recv(2)"),
    rule("recv", "rd=shut", "eof",
         why="This side was shut for reading; nothing is waiting, so recv() gives b''.",
         source="shutdown(2)"),
    rule("recv", "", "ENOMEM", given="limit=memory", why="The kernel has no memory.",
         source="recv(2)"),
    rule("recv", "", "EINTR", given="signal=caught",
         why="A signal handler raised while recv() waited.", source="recv(2), signal(7)"),
    rule("recv", "", "EAGAIN", why="No data is waiting: a blocking recv() would wait here.",
         source="recv(2)"),
)


def _shutdown(call: str, flags: str) -> tuple[Rule, ...]:
    ends_listening = call != "shutdown_wr"
    effect = {
        "shutdown_rd": "recv() gives b'' from now on, and the peer's send() gives EPIPE.",
        "shutdown_wr": "The peer's recv() gives b'' once it has read everything; receiving goes on.",
        "shutdown_rdwr": "Both directions are over, for the peer as well.",
    }[call]
    return (
        rule(call, "role=fresh", "ok", flags,
             why="Linux lets it through: a later connection cannot use this direction, a later "
             "listener with its reading side shut refuses every client.", source=_MEASURED,
             lint="shutdown-unconnected", note="POSIX names ENOTCONN."),
        rule(call, "role=listening", "ok", flags,
             why="The listener goes on." if not ends_listening else "The listener is dead for good: "
             "clients get ECONNREFUSED, and listen() does not revive it.", source=_MEASURED,
             lint="shutdown-unconnected" if not ends_listening else ""),
        rule(call, "", "ok", flags, why=effect, source="shutdown(2), measured"),
    )


_REST = (
    *_shutdown("shutdown_rd", "rd=shut"),
    *_shutdown("shutdown_wr", "wr=shut"),
    *_shutdown("shutdown_rdwr", "rd=shut wr=shut"),
    rule("disconnect", "", "EINVAL",
         why="connect() to AF_UNSPEC is not for UNIX streams: close, and make a new socket.",
         source=_MEASURED),
    rule("so_error", "role=connected", "ECONNRESET", "peer=closed rd=shut wr=shut",
         given="peer=resets history=partial",
         why="The peer closed with our data unread; reading the error clears it.",
         source="socket(7)"),
    rule("so_error", "role=connected peer=open", "ECONNRESET", "peer=closed rd=shut wr=shut",
         given="peer=resets", why="The listener closed before it accepted; reading the error "
         "clears it.", source="socket(7), measured"),
    rule("so_error", "", "ok", why="No error is pending.", source="socket(7)"),
)

TABLE = Table(
    kind="unix-stream",
    title="UNIX-domain stream socket (AF_UNIX)",
    parts={
        "fd": DESCRIPTOR,
        "name": ("no", "path", "unlinked"),
        "role": ("fresh", "listening", "connected"),
        "peer": ("open", "closed"),
        "rd": ("open", "shut"),
        "wr": ("open", "shut"),
    },
    environment={
        **SURROUNDINGS,
        **UNIX_FACTS,
        **STREAM_FACTS,
        "flag": UNIX_FLAGS,
        "peer": ("waits", "sends", "ends", "closes", "resets"),
        "queue": ("empty", "waiting"),
        "to": ("none", "address"),
        "made": ("create", "accept"),
    },
    rules=(
        *_BIRTH, *paths(), *nothing_asked(), *too_many_buffers(), *end(_RESET, _CLEAN),
        *_BIND, *_LISTEN_ACCEPT,
        *_CONNECT, *goodbyes("role=connected peer=open rd=open wr=open"), *_SEND, *_RECV, *_REST,
    ),
    names=(
        ("fd=none", "START"),
        ("fd=closed name=no", "CLOSED"),
        ("fd=closed", "CLOSED_PATH_LEFT"),
        ("fd=detached", "DETACHED"),
        ("fd=gone", "EXITED"),
        ("role=listening", "LISTENING"),
        ("role=fresh name=no", "CREATED"),
        ("role=fresh", "BOUND"),
        ("peer=closed", "PEER_CLOSED"),
        ("rd=open wr=open", "CONNECTED"),
        ("rd=shut wr=open", "READ_SHUT"),
        ("rd=open wr=shut", "WRITE_SHUT"),
        ("role=connected", "BOTH_SHUT"),
        ("role=fresh|listening rd=shut wr=open", "+_READ_SHUT"),
        ("role=fresh|listening rd=open wr=shut", "+_WRITE_SHUT"),
        ("role=fresh|listening rd=shut wr=shut", "+_BOTH_SHUT"),
        ("peer=closed wr=shut", "+_WRITE_SHUT"),
        ("role=connected name=path", "+_BOUND"),
        ("fd=open name=unlinked", "+_UNLINKED"),
    ),
    words={
        **WORDS,
        **UNIX_WORDS,
        **STREAM_WORDS,
        "role": "fresh, listening, or one end of a connection",
        "peer": "whether the peer is known to have closed (or shut its writing side); in the "
        "environment: what the peer does",
        "rd": "whether receiving was shut",
        "wr": "whether sending was shut, by us or because the peer is gone",
        "queue": "what waits for accept()",
        "to": "whether send() is a sendto() with an address",
        "made": "where the socket comes from",
    },
)
