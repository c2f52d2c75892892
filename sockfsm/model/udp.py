"""UDP over IPv4 and IPv6: every transition of a datagram socket. Pure data.

There is no connection: connect() only notes a peer, and may be called again. A refusal that
arrives (ICMP) is about an earlier datagram, so a later call reports it.
"""

from __future__ import annotations

from sockfsm.model.lifecycle import (
    DATAGRAM_WORDS,
    DESCRIPTOR,
    INET_FLAGS,
    INET_WORDS,
    SURROUNDINGS,
    WORDS,
    birth,
    end,
    nothing_asked,
    resolving,
    too_many_buffers,
    without_connections,
)
from sockfsm.model.rules import Rule, Table, rule

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

_RESET = "resolved=no name=no peer=no rd=open wr=open err=none"
_MEASURED = "measured, Linux 6.18"

_BIND = (
    rule("bind", "", "EADDRNOTAVAIL", given="address=foreign",
         why="The address does not belong to this machine.", source="bind(2)"),
    rule("bind", "", "EACCES", given="address=privileged",
         why="Ports below 1024 are for privileged programs (ip_unprivileged_port_start).",
         source="bind(2), ip(7)"),
    rule("bind", "", "EAFNOSUPPORT", given="address=family",
         why="The address is of another family than the socket.", source="ip(7)"),
    rule("bind", "", "EINVAL", given="address=invalid",
         why="The address is wrong for this family, or the name given by number is still held.",
         source="bind(2)"),
    rule("bind", "name=yes", "EINVAL",
         why="The socket has a name already: by bind(), connect(), or a first send (even a failed "
         "one).", source="bind(2), measured"),
    rule("bind", "", "EADDRINUSE", given="address=taken",
         why="Another socket holds this address and port.", source="bind(2)"),
    rule("bind", "", "ENOMEM", given="limit=memory", why="The kernel has no memory for the name.",
         source="bind(2)"),
    rule("bind", "", "ok", "name=yes",
         why="The socket gets its local address; port 0 lets the kernel choose a port.",
         source="bind(2), udp(7)"),
)

_UNREACHABLE = (
    ("ENETUNREACH", "unreachable", "There is no route to that network."),
    ("EHOSTUNREACH", "unreachable", "The host cannot be reached."),
    ("ENETDOWN", "unreachable", "The interface is down."),
    ("EACCES", "filtered", "It is a broadcast address without SO_BROADCAST, or it is filtered."),
    ("EPERM", "filtered", "A local firewall rule forbids it."),
)

_CONNECT = (
    rule("connect", "", "EAFNOSUPPORT", given="target=family",
         why="The address is of another family than the socket.", source="connect(2)"),
    rule("connect", "", "EINVAL", given="target=invalid",
         why="The address cannot be connected to.", source="connect(2)"),
    rule("connect", "", "EAGAIN", given="ports=none",
         why="No local port is free (ip_local_port_range).", source="connect(2)"),
    rule("connect", "", "EADDRNOTAVAIL", given="ports=none",
         why="The local address cannot reach it.", source="connect(2)"),
    *(rule("connect", "", outcome, "name=yes", given=f"network={fact}", why=why,
           source="connect(2), ip(7)") for outcome, fact, why in _UNREACHABLE),
    rule("connect", "peer=yes", "ok",
         why="The socket is aimed at another peer; datagrams of the old one do not arrive any more.",
         source="connect(2), udp(7)"),
    rule("connect", "", "ok", "peer=yes name=yes",
         why="Nothing is sent: the kernel writes the peer down as the target of send() and the only "
         "sender to receive from, and picks a local port.", source="connect(2), udp(7)"),
)

_SEND = (
    rule("send", "", "EOPNOTSUPP", "name=yes", given="flag=oob", why="Datagrams have no urgent data.",
         source="send(2), measured"),
    rule("send", "", "EMSGSIZE", "name=yes", given="size=big",
         why="A datagram travels whole: at most 65,507 bytes fit.", source="send(2), udp(7)"),
    rule("send", "peer=no", "EDESTADDRREQ", "name=yes", given="to=none",
         why="No peer is known: use sendto(), or connect() first. The failed call has bound the "
         "socket all the same.", source="send(2), measured"),
    rule("send", "", "EAFNOSUPPORT", "name=yes", given="target=family",
         why="The address is of another family than the socket.", source="send(2)"),
    rule("send", "", "EINVAL", "name=yes", given="target=invalid",
         why="The address cannot be sent to (port 0).", source="send(2)"),
    *(rule("send", "", outcome, "name=yes", given=f"network={fact}", why=why,
           source="send(2), ip(7)") for outcome, fact, why in _UNREACHABLE),
    rule("send", "err=pending", "ECONNREFUSED", "name=yes err=none",
         why="An earlier datagram found no socket at its target: the ICMP answer is reported now, "
         "and this datagram was not sent.", source="udp(7)"),
    rule("send", "wr=shut", "EPIPE", "name=yes",
         why="shutdown(SHUT_WR) was called, perhaps in vain (ENOTCONN): the flag stays.",
         source="send(2), measured"),
    rule("send", "", "EAGAIN", "name=yes", given="room=no",
         why="The send buffer is full.", source="send(2)"),
    rule("send", "", "ENOBUFS", "name=yes", given="limit=memory",
         why="The output queue of the interface is full.", source="send(2)"),
    rule("send", "", "ENOMEM", "name=yes", given="limit=memory",
         why="The kernel has no memory for the datagram.", source="send(2)"),
    rule("send", "", "EINTR", "name=yes", given="signal=caught",
         why="A signal handler raised while send() waited.", source="send(2), signal(7)"),
    rule("send", "peer=yes", "ok", "err=pending", given="peer=dead",
         why="The datagram is sent; nobody is there, and the ICMP answer will be reported by the "
         "next call.", source="udp(7), measured"),
    rule("send", "", "ECONNREFUSED", given="peer=dead history=partial",
         why="An earlier datagram found no socket at its target: the ICMP answer is reported now.",
         source="udp(7)"),
    rule("send", "", "ok", "name=yes",
         why="The datagram is on its way, whole or not at all; without a name the socket got one.",
         source="send(2), udp(7)"),
)

_RECV = (
    rule("recv", "", "EAGAIN", given="flag=errqueue", aside=True,
         why="No error is queued with its packet, whatever the state is.",
         source="recv(2), measured"),
    rule("recv", "err=pending", "ECONNREFUSED", "err=none",
         why="An earlier datagram found no socket at its target: the ICMP answer is reported now.",
         source="udp(7)"),
    rule("recv", "name=yes", "ok", given="peer=sends",
         why="A datagram was waiting; what did not fit into the buffer is lost.",
         source="recv(2), udp(7)"),
    rule("recv", "", "ECONNREFUSED", given="peer=dead history=partial",
         why="An earlier datagram found no socket at its target: the ICMP answer is reported now.",
         source="udp(7)"),
    rule("recv", "rd=shut", "ok", given="mode=blocking",
         why="This side was shut for reading: a blocking recv() gives b'' at once.",
         source=_MEASURED),
    *(rule("recv", "", outcome, given=f"network={fact}", why=why, source="udp(7), ip(7)")
      for outcome, fact, why in _UNREACHABLE[:2]),
    rule("recv", "", "EMSGSIZE", given="size=big history=partial",
         why="A datagram sent earlier was too big for the path.", source="udp(7), ip(7)"),
    rule("recv", "", "ENOMEM", given="limit=memory", why="The kernel has no memory.",
         source="recv(2)"),
    rule("recv", "", "EINTR", given="signal=caught",
         why="A signal handler raised while recv() waited.", source="recv(2), signal(7)"),
    rule("recv", "name=no", "EAGAIN",
         why="No datagram is waiting, and none can come: the socket has no port yet.",
         source="recv(2), udp(7)", lint="unbound-recv"),
    rule("recv", "", "EAGAIN",
         why="No datagram is waiting: a blocking recv() would wait here. A non-blocking socket says "
         "so even after SHUT_RD.", source="recv(2), measured"),
)


def _shutdown(call: str, flags: str) -> tuple[Rule, ...]:
    return (
        rule(call, "peer=no", "ENOTCONN", flags,
             why="There is no peer, and yet the flag stays: it holds for every later use, even "
             "after connect().", source=_MEASURED, note="POSIX names ENOTCONN and no effect."),
        rule(call, "", "ok", flags,
             why="The flag is set on this end only; nothing is sent, and connect() does not undo "
             "it.", source="shutdown(2), measured"),
    )


_REST = (
    *_shutdown("shutdown_rd", "rd=shut"),
    *_shutdown("shutdown_wr", "wr=shut"),
    *_shutdown("shutdown_rdwr", "rd=shut wr=shut"),
    rule("disconnect", "", "ok", "peer=no name=no",
         why="connect() to AF_UNSPEC forgets the peer and gives an assigned port back, even one "
         "from bind() to port 0.", source="connect(2), measured",
         note="A port that was given by number stays: then a second bind() gives EINVAL."),
    rule("so_error", "err=pending", "ECONNREFUSED", "err=none",
         why="The pending error is read and cleared.", source="socket(7)"),
    *(rule("so_error", "", outcome, given="peer=dead history=partial", why=why, source="udp(7)")
      for outcome, why in (
          ("ECONNREFUSED", "An earlier datagram found no socket at its target."),
          ("EHOSTUNREACH", "An earlier datagram did not reach its host."),
          ("ENETUNREACH", "An earlier datagram did not reach its network."),
          ("EMSGSIZE", "An earlier datagram was too big for the path."),
      )),
    rule("so_error", "", "ok", why="No error is pending.", source="socket(7)"),
)

TABLE = Table(
    kind="udp",
    title="UDP datagram socket (AF_INET, AF_INET6)",
    parts={
        "fd": DESCRIPTOR,
        "resolved": ("no", "yes"),
        "name": ("no", "yes"),
        "peer": ("no", "yes"),
        "rd": ("open", "shut"),
        "wr": ("open", "shut"),
        "err": ("none", "pending"),
    },
    environment={
        **SURROUNDINGS,
        "lookup": ("succeeds", "fails"),
        "peer": ("waits", "sends", "dead"),
        "to": ("none", "address"),
        "address": ("free", "taken", "privileged", "foreign", "family", "invalid"),
        "target": ("good", "family", "invalid"),
        "ports": ("free", "none"),
        "size": ("fits", "big"),
        "room": ("yes", "no"),
        "flag": INET_FLAGS,
        "network": ("up", "unreachable", "filtered"),
    },
    rules=(
        *resolving(), *birth("udp", opened="fd=open resolved=no"), *nothing_asked(),
        *too_many_buffers(), *end(_RESET),
        *_BIND, *without_connections("rd=open err=none"), *_CONNECT, *_SEND, *_RECV, *_REST,
    ),
    names=(
        ("fd=none resolved=no", "START"),
        ("fd=none resolved=yes", "RESOLVED"),
        ("fd=closed", "CLOSED"),
        ("fd=detached", "DETACHED"),
        ("fd=gone", "EXITED"),
        ("peer=yes rd=open wr=open", "CONNECTED"),
        ("peer=yes rd=shut wr=open", "READ_SHUT"),
        ("peer=yes rd=open wr=shut", "WRITE_SHUT"),
        ("peer=yes", "BOTH_SHUT"),
        ("name=no", "CREATED"),
        ("name=yes", "BOUND"),
        ("peer=no rd=shut wr=open", "+_READ_SHUT"),
        ("peer=no rd=open wr=shut", "+_WRITE_SHUT"),
        ("peer=no rd=shut wr=shut", "+_BOTH_SHUT"),
        ("err=pending", "+_ERROR"),
    ),
    words={
        **WORDS,
        **INET_WORDS,
        **DATAGRAM_WORDS,
        "name": "whether the socket has a local address and port",
        "peer": "whether connect() wrote a peer down; in the environment: what the peer does (dead: "
        "no socket is bound there)",
        "err": "whether an ICMP error waits to be reported",
        "address": "what bind() was given: a free one, or why it cannot be had",
    },
)
