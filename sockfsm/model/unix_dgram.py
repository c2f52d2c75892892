"""UNIX-domain datagram sockets: every transition. Pure data.

One kernel has both ends, so send() learns at once what became of the peer: ENOENT for a path that does
not exist, ECONNREFUSED for a dead peer (which is then forgotten), EAGAIN if its queue is full.
"""

from __future__ import annotations

from sockfsm.model.lifecycle import (
    DATAGRAM_WORDS,
    DESCRIPTOR,
    SURROUNDINGS,
    UNIX_FACTS,
    UNIX_FLAGS,
    UNIX_WORDS,
    WORDS,
    birth,
    end,
    naming,
    naming_itself,
    nothing_asked,
    paths,
    targets,
    too_many_buffers,
    without_connections,
)
from sockfsm.model.rules import Rule, Table, rule

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

_CLEAN = "peer=no rd=open wr=open"
_RESET = f"name=no {_CLEAN}"
_MEASURED = "measured, Linux 6.18"

_BIND = (
    *naming_itself(),
    *naming("stale-path"),
    rule("bind", "", "EINVAL", given="address=invalid", why="The address is wrong.",
         source="bind(2)"),
    rule("bind", "name=path|unlinked", "EINVAL",
         why="The socket has a name already: names are for life, even when the path is unlinked.",
         source="bind(2), unix(7)"),
    rule("bind", "", "ok", "name=unlinked", given="address=abstract",
         why="An abstract name lives in the kernel alone: no path appears, none has to be removed.",
         source="unix(7)"),
    rule("bind", "", "ok", "name=path", given="address=free",
         why="The path appears in the file system; others can send to it, and see who answers.",
         source="bind(2), unix(7)",
         note="An abstract name appears nowhere and needs no unlink()."),
)

_CONNECT = (
    rule("connect", "", "EINVAL", given="target=family|invalid",
         why="The address is wrong, or of another family than the socket.", source=_MEASURED,
         note="POSIX names EAFNOSUPPORT for another family."),
    *targets("connect"),
    rule("connect", "peer=yes", "ok", why="The socket is aimed at another peer.",
         source="connect(2), unix(7)"),
    rule("connect", "", "ok", "peer=yes",
         why="The kernel writes the peer down as the target of send() and the only sender to receive "
         "from. The socket itself gets no name, so that the peer cannot answer without bind().",
         source="connect(2), unix(7)"),
)

_SEND = (
    rule("send", "", "EOPNOTSUPP", given="flag=oob", why="Datagrams have no urgent data.",
         source="send(2), measured"),
    rule("send", "", "EMSGSIZE", given="size=big",
         why="A datagram travels whole: it must fit into the send buffer.", source="send(2)"),
    rule("send", "peer=yes wr=shut", "EAGAIN", given="room=no mode=timeout", aside=True,
         why="Python waits for room before it asks the kernel.",
         source="CPython Modules/socketmodule.c, measured"),
    rule("send", "wr=shut", "EPIPE",
         why="shutdown(SHUT_WR) was called; the kernel looks at that before it looks for a peer.",
         source="send(2), measured"),
    rule("send", "peer=no", "ENOTCONN", given="to=none",
         why="No peer is known: use sendto(), or connect() first.", source="send(2)",
         note="UDP says EDESTADDRREQ in the same place; so does POSIX."),
    rule("send", "", "EAGAIN", given="room=no",
         why="The send buffer, or the peer's queue, is full (max_dgram_qlen): a blocking send() "
         "would wait.", source="send(2), unix(7)"),
    rule("send", "", "EINVAL", given="target=family|invalid to=address",
         why="The address is wrong, or of another family than the socket.", source="send(2), measured"),
    *targets("send", "to=address"),
    rule("send", "peer=yes", "ECONNREFUSED", "peer=no", given="peer=dead",
         why="The peer was closed: the kernel says so once and forgets it; the next send() gives "
         "ENOTCONN.", source=_MEASURED),
    rule("send", "", "EPIPE", given="peer=deaf", why="The peer shut its reading side.",
         source=_MEASURED),
    rule("send", "", "EPERM", given="target=denied",
         why="The peer is connected to another socket and takes messages from it only.",
         source=_MEASURED),
    rule("send", "", "ECONNRESET", given="peer=leaves",
         why="The peer was connected to this socket and is aimed at another one now.",
         source=_MEASURED),
    rule("send", "", "ENOBUFS", given="limit=memory", why="The kernel has no memory.",
         source="send(2)"),
    rule("send", "", "ENOMEM", given="limit=memory", why="The kernel has no memory.",
         source="send(2)"),
    rule("send", "", "EINTR", given="signal=caught",
         why="A signal handler raised while send() waited.", source="send(2), signal(7)"),
    rule("send", "", "ok", why="The datagram is in the peer's queue, whole.",
         source="send(2), unix(7)"),
)

_RECV = (
    rule("recv", "", "EAGAIN", given="flag=oob mode=timeout peer=waits", aside=True,
         why="With a timeout Python waits for the socket to be ready before it asks the kernel.",
         source="CPython Modules/socketmodule.c, measured"),
    rule("recv", "", "EOPNOTSUPP", given="flag=oob", why="Datagrams have no urgent data.",
         source="recv(2), measured"),
    rule("recv", "name=path rd=open", "ok", given="peer=sends",
         why="A datagram was waiting; what did not fit into the buffer is lost.", source="recv(2)"),
    rule("recv", "", "ok", given="peer=sends history=partial",
         why="A datagram was waiting, from before SHUT_RD or from the other end of a socketpair(), "
         "which needs no name to send.", source="socketpair(2)"),
    rule("recv", "", "ECONNRESET", given="peer=leaves",
         why="The peer was connected to this socket and is aimed at another one now.",
         source=_MEASURED),
    rule("recv", "rd=shut", "ok", given="mode=blocking",
         why="This side was shut for reading: a blocking recv() gives b'' at once.",
         source=_MEASURED),
    rule("recv", "", "ENOMEM", given="limit=memory", why="The kernel has no memory.",
         source="recv(2)"),
    rule("recv", "", "EINTR", given="signal=caught",
         why="A signal handler raised while recv() waited.", source="recv(2), signal(7)"),
    rule("recv", "name=no peer=no", "EAGAIN",
         why="No datagram is waiting, and none can come: the socket has no name.",
         source="recv(2)", lint="unbound-recv"),
    rule("recv", "", "EAGAIN",
         why="No datagram is waiting: a blocking recv() would wait here. A non-blocking socket says "
         "so even after SHUT_RD.", source="recv(2), measured"),
)


def _shutdown(call: str, flags: str) -> tuple[Rule, ...]:
    return (
        rule(call, "peer=no", "ok", flags,
             why="Linux lets it through, and the flag stays for every later use.",
             source=_MEASURED, lint="shutdown-unconnected", note="POSIX names ENOTCONN."),
        rule(call, "", "ok", flags, why="The flag is set on this end, for every later peer, too.",
             source="shutdown(2), measured"),
    )


_REST = (
    *_shutdown("shutdown_rd", "rd=shut"),
    *_shutdown("shutdown_wr", "wr=shut"),
    *_shutdown("shutdown_rdwr", "rd=shut wr=shut"),
    rule("disconnect", "", "ok", "peer=no",
         why="connect() to AF_UNSPEC forgets the peer; the socket's own name stays.",
         source="connect(2)"),
    rule("so_error", "", "ECONNRESET", given="peer=leaves",
         why="The peer was connected to this socket and is aimed at another one now.",
         source=_MEASURED),
    rule("so_error", "", "ok", why="No error is pending.", source="socket(7)"),
)

TABLE = Table(
    kind="unix-dgram",
    title="UNIX-domain datagram socket (AF_UNIX)",
    parts={
        "fd": DESCRIPTOR,
        "name": ("no", "path", "unlinked"),
        "peer": ("no", "yes"),
        "rd": ("open", "shut"),
        "wr": ("open", "shut"),
    },
    environment={
        **SURROUNDINGS,
        **UNIX_FACTS,
        "flag": UNIX_FLAGS,
        "peer": ("waits", "sends", "dead", "deaf", "leaves"),
        "to": ("none", "address"),
        "size": ("fits", "big"),
    },
    rules=(
        *birth("unix-dgram"), *birth("unix-dgram", "socketpair", "fd=open peer=yes"),
        *paths(), *nothing_asked(), *too_many_buffers(), *end(_RESET, _CLEAN), *_BIND,
        *without_connections("rd=open"), *_CONNECT, *_SEND, *_RECV, *_REST,
    ),
    names=(
        ("fd=none", "START"),
        ("fd=closed name=no", "CLOSED"),
        ("fd=closed", "CLOSED_PATH_LEFT"),
        ("fd=detached", "DETACHED"),
        ("fd=gone", "EXITED"),
        ("peer=yes rd=open wr=open", "CONNECTED"),
        ("peer=yes rd=shut wr=open", "READ_SHUT"),
        ("peer=yes rd=open wr=shut", "WRITE_SHUT"),
        ("peer=yes", "BOTH_SHUT"),
        ("name=no", "CREATED"),
        ("name=path|unlinked", "BOUND"),
        ("peer=no rd=shut wr=open", "+_READ_SHUT"),
        ("peer=no rd=open wr=shut", "+_WRITE_SHUT"),
        ("peer=no rd=shut wr=shut", "+_BOTH_SHUT"),
        ("fd=open peer=yes name=path", "+_BOUND"),
        ("fd=open name=unlinked", "+_UNLINKED"),
    ),
    words={
        **WORDS,
        **UNIX_WORDS,
        **DATAGRAM_WORDS,
        "peer": "whether connect() wrote a peer down; in the environment: what the peer does (dead: "
        "it closed; deaf: it shut its reading side; leaves: it turned to another socket)",
    },
)
