"""The rules of the descriptor's life, the same for every kind: made, closed, given away, exit.

Each function gives rules for a kind's table; `reset` is the `then` text that puts the kind's other
parts back, because a closed descriptor remembers nothing.
"""

from __future__ import annotations

from sockfsm.model.rules import Rule, rule

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

DESCRIPTOR = ("none", "open", "closed", "detached", "gone")

# Facts about the world around a socket that every kind shares; the first value is the reference.
SURROUNDINGS = {
    "mode": ("nonblocking", "blocking", "timeout"),
    "limit": ("none", "descriptors", "memory", "family", "permission", "buffers"),
    "signal": ("none", "caught"),
    "history": ("complete", "partial"),
    "length": ("some", "zero"),
    "asked": ("kernel", "nobody"),
}

STREAM_FACTS = {
    "layer": ("none", "tls"),
    "notice": ("none", "sent"),
    "urgent": ("none", "sent"),
}

WORDS = {
    "fd": "the descriptor: not made yet, open, closed, given away by detach(), gone with the "
    "program",
    "mode": "how calls wait: not at all, for ever, or until Python's timeout",
    "limit": "what the system has run out of, or does not permit",
    "signal": "whether a signal handler runs while the call waits, and raises",
    "length": "how much is asked for",
    "asked": "nobody: Python answers by itself",
    "history": "partial: something happened to the socket that sockfsm did not see",
}


INET_WORDS = {
    "target": "what connect() or sendto() was given",
    "ports": "whether the system has a local port left to assign",
    "resolved": "whether getaddrinfo() has been asked and no socket made from its answer yet",
    "lookup": "what getaddrinfo() finds",
    "flag": "what is asked for beside the data: a look (MSG_PEEK), urgent data (MSG_OOB), queued "
    "errors (MSG_ERRQUEUE); fastopen: connect() and send() in one (MSG_FASTOPEN)",
    "network": "what routing, firewall and ICMP say",
    "room": "whether the send buffer has room",
}


STREAM_WORDS = {
    "layer": "what lies between program and socket",
    "urgent": "whether the peer has sent urgent data that is not read yet",
    "notice": "sent: TLS said goodbye, whatever TCP does",
}

DATAGRAM_WORDS = {
    "rd": "whether receiving was shut",
    "wr": "whether sending was shut",
    "to": "whether send() is a sendto() with an address",
    "size": "whether the datagram fits",
}

INET_FLAGS = ("none", "peek", "oob", "errqueue", "fastopen")
UNIX_FLAGS = ("none", "peek", "oob")

UNIX_WORDS = {
    "flag": "what is asked for beside the data: a look (MSG_PEEK), urgent data (MSG_OOB)",
    "name": "the socket's own name: none, a path in the file system, or one that needs no unlink(): "
    "an abstract name, or a path that was unlinked",
    "file": "stale: the path is there (before) or was removed by somebody else (after); "
    "protected: it may not be removed",
    "target": "what stands at the path that is connected or sent to",
    "address": "what bind() was given: a free path, an abstract name, nothing (auto: the kernel "
    "chooses), or why it cannot be had",
    "room": "whether the send buffer has room",
}

UNIX_FACTS = {
    "file": ("absent", "stale", "protected"),
    "target": ("live", "absent", "dead", "othertype", "denied", "full", "family",
               "invalid"),
    "address": ("free", "abstract", "auto", "taken", "denied", "nowhere", "invalid", "family"),
    "room": ("yes", "no"),
}


def naming(lint: str = "") -> tuple[Rule, ...]:
    """The refusals of bind() to a path, in every situation: the path is tried first."""
    return tuple(
        rule("bind", "", outcome, given=f"address={fact}", why=why, source="bind(2), unix(7)",
             lint=lint if outcome == "EADDRINUSE" else "")
        for fact, outcome, why in (
            ("taken", "EADDRINUSE", "The path exists already: remove the stale one before bind(), or"
             " another program is using it."),
            ("denied", "EACCES", "The directory may not be searched or written."),
            ("denied", "EPERM", "The directory may not be written."),
            ("denied", "EROFS", "The file system is read-only."),
            ("nowhere", "ENOENT", "A directory of the path does not exist."),
            ("nowhere", "ENOTDIR", "A part of the path is no directory."),
            ("nowhere", "ELOOP", "Too many symbolic links."),
            ("nowhere", "ENAMETOOLONG", "The path is too long (108 bytes)."),
            ("family", "EINVAL", "The address is of another family than the socket."),
        )
    )


def naming_itself() -> tuple[Rule, ...]:
    """bind("") of a UNIX socket: the kernel chooses an abstract name, unless there is a name."""
    return (
        rule("bind", "name=no", "ok", "name=unlinked", given="address=auto",
             why="The kernel chooses an abstract name: no path appears, none has to be removed.",
             source="unix(7)"),
        rule("bind", "", "ok", given="address=auto",
             why="There is a name, so there is nothing to choose.", source="measured, Linux 6.18"),
    )


def targets(call: str, given: str = "") -> tuple[Rule, ...]:
    """The refusals that come from the path which is connected or sent to."""
    return tuple(
        rule(call, "", outcome, given=f"target={fact} {given}", why=why, source=source)
        for fact, outcome, why, source in (
            ("absent", "ENOENT", "There is no such path: the server has not bound it yet, or it was "
             "unlinked.", "unix(7), connect(2)"),
            ("absent", "ENOTDIR", "A part of the path is no directory.", "connect(2)"),
            ("dead", "ECONNREFUSED", "The path is there, but no live socket listens behind it: a "
             "stale path.", "unix(7), connect(2)"),
            ("othertype", "EPROTOTYPE", "The path belongs to a socket of another type.",
             "unix(7), connect(2)"),
            ("denied", "EACCES", "Writing to the path is not permitted.", "unix(7), connect(2)"),
            ("denied", "EPERM", "The peer takes messages from another socket only.",
             "connect(2), measured"),
        )
    )


def resolving() -> tuple[Rule, ...]:
    """getaddrinfo(), which comes before the socket (INET kinds; part `resolved`)."""
    return (
        rule("resolve", "fd=none", "gaierror", given="lookup=fails",
             why="getaddrinfo() found no address: unknown host or service, or flags that do not fit.",
             source="getaddrinfo(3)"),
        *(
            rule(call, "", "gaierror", given="lookup=fails",
                 why="Python looks the host's name up first, and no address was found.",
                 source="getaddrinfo(3)")
            for call in ("bind", "connect", "send")
        ),
        rule("resolve", "fd=none", "ok", "resolved=yes",
             why="getaddrinfo() gives a list of addresses, to be tried in turn; Python frees the list.",
             source="getaddrinfo(3)"),
    )


def nothing_asked() -> tuple[Rule, ...]:
    """recv(0), and recv_into() an empty buffer, on any descriptor."""
    return (
        rule("recv", "fd!=none", "ok", given="length=zero asked=nobody",
             why="Python returns b'' for recv(0) without asking the kernel.",
             source="CPython Modules/socketmodule.c, measured"),
    )


def too_many_buffers() -> tuple[Rule, ...]:
    """sendmsg() and recvmsg_into() with more buffers than IOV_MAX: the kernel checks this first."""
    return tuple(
        rule(call, "fd=open", "EMSGSIZE", given="limit=buffers", aside=True,
             why="A message has at most 1,024 buffers (IOV_MAX).", source="sendmsg(2), readv(2)")
        for call in ("send", "recv")
    )


def goodbyes(live: str) -> tuple[Rule, ...]:
    """TLS over a stream. Every call may meet the end of TLS, and the stream may go on after it.

    live: the situations in which the peer may still end TLS.
    """
    source = "Python library, ssl"
    return (
        rule("send", live, "eof", "peer=closed rd=shut", given="layer=tls peer=ends|closes", aside=True,
             why="The stream ended in the middle of a handshake or a goodbye.", source=source),
        rule("send", "", "eof", given="layer=tls notice=sent", aside=True,
             why="The peer's TLS said goodbye; the stream below may go on.", source=source),
        rule("recv", "", "eof", given="layer=tls notice=sent", aside=True,
             why="The peer's TLS said goodbye; the stream below may go on.", source=source),
    )


def without_connections(silent: str) -> tuple[Rule, ...]:
    """listen() and accept() of datagram sockets. silent: the parts of one with nothing to report."""
    return (
        rule("listen", "", "EOPNOTSUPP",
             why="Datagrams need no connection, so there is nothing to listen for: bind() and recv().",
             source="listen(2)"),
        rule("accept", "", "EMFILE", given="limit=descriptors",
             why="No descriptor is left; the kernel looks for one before it looks at the socket.",
             source="accept(2)"),
        rule("accept", silent, "EAGAIN", given="mode=timeout peer=waits", aside=True,
             why="With a timeout Python waits for the socket to be ready before it asks the kernel: "
             "the wait runs out, and the refusal is never seen.",
             source="CPython Modules/socketmodule.c, measured"),
        rule("accept", "", "EOPNOTSUPP",
             why="Datagrams need no connection: one socket receives from every sender.",
             source="accept(2)"),
    )


def birth(kind: str, call: str = "create", opened: str = "fd=open") -> tuple[Rule, ...]:
    """socket() or socketpair(); `opened`: the parts that it sets."""
    made = (call, "fd=none")
    why = {
        "create": f"socket() makes an endpoint of kind {kind}: no name, no peer.",
        "socketpair": "socketpair() makes two ends that are connected already, without names.",
    }[call]
    return (
        rule(*made, "EMFILE", given="limit=descriptors",
             why="The process has as many descriptors open as RLIMIT_NOFILE allows.",
             source="socket(2)"),
        rule(*made, "ENFILE", given="limit=descriptors",
             why="The whole system has as many files open as it may.", source="socket(2)"),
        rule(*made, "ENOBUFS", given="limit=memory",
             why="The kernel has no memory for another socket.", source="socket(2)"),
        rule(*made, "ENOMEM", given="limit=memory",
             why="The kernel has no memory for another socket.", source="socket(2)"),
        rule(*made, "EAFNOSUPPORT", given="limit=family",
             why="The kernel does not speak this address family (IPv6 may be switched off).",
             source="socket(2)"),
        rule(*made, "EPROTONOSUPPORT", given="limit=family",
             why="The family has no such protocol, or not for this type of socket.",
             source="socket(2)"),
        rule(*made, "EINVAL", given="limit=family",
             why="Unknown protocol or unknown flags in the type.", source="socket(2)"),
        rule(*made, "EACCES", given="limit=permission",
             why="The process may not create a socket of this type.", source="socket(2)"),
        rule(*made, "EPERM", given="limit=permission",
             why="A security policy forbids to create this socket.", source="socket(2)"),
        rule(*made, "ok", opened,
             why=why, source=f"{'socket' if call == 'create' else call}(2)"),
    )


def _end_of_path(reset: str, kept: str) -> tuple[Rule, ...]:
    return (
        rule("exit", "fd=open|closed name=path", "ok", f"fd=gone {reset}",
             why="The program ends, and the path of its socket stays behind: the next bind() to it "
             "will find EADDRINUSE.", source="unix(7)", lint="path-not-unlinked"),
        rule("close", "fd=open name=path", "ok", f"fd=closed {kept}",
             why="The socket is closed, and its path stays behind until somebody unlinks it.",
             source="unix(7), close(2)"),
    )


def paths() -> tuple[Rule, ...]:
    """unlink() of the path of a UNIX socket, before, while and after it exists (part `name`)."""
    errors = tuple(
        rule("unlink", "", outcome, given="file=protected", why=why, source="unlink(2)")
        for outcome, why in (
            ("EACCES", "The directory may not be written."),
            ("EPERM", "The directory is sticky, or the path is a directory."),
            ("EROFS", "The file system is read-only."),
            ("EISDIR", "The path is a directory."),
            ("ENOTDIR", "A part of the path is no directory."),
        )
    )
    return (
        *errors,
        rule("unlink", "fd=none", "ok", given="file=stale",
             why="The path that an earlier run left behind is removed, so that bind() can make it.",
             source="unlink(2), unix(7)"),
        rule("unlink", "fd=open name=path", "ENOENT", "name=unlinked", given="file=stale",
             why="Somebody removed the path already; the socket lives on without it.",
             source="unlink(2)"),
        rule("unlink", "fd=open name=path", "ok", "name=unlinked",
             why="Nobody can connect by this path any more; the socket and its connections live on.",
             source="unlink(2), unix(7)"),
        rule("unlink", "name=path", "ENOENT", "name=no", given="file=stale",
             why="Somebody removed the path already.", source="unlink(2)"),
        rule("unlink", "name=path", "ok", "name=no",
             why="The name is taken out of the system: the socket is unbound altogether.",
             source="unlink(2), unix(7)"),
        rule("unlink", "", "ok", given="file=stale",
             why="Another path was removed; this socket has none.", source="unlink(2)"),
        rule("unlink", "", "ENOENT", why="There is no such path, and nothing to remove.",
             source="unlink(2)"),
    )


def end(reset: str, kept: str = "") -> tuple[Rule, ...]:
    """exit(), close(), detach(), and every call on a descriptor that is not open.

    kept: for kinds with paths, the `then` text of a close() that leaves the path behind.
    """
    return (
        *(_end_of_path(reset, kept) if kept else ()),
        rule("exit", "fd=gone", "ok", why="The program has ended already.", source="_exit(2)"),
        rule("exit", "fd=open", "ok", f"fd=gone {reset}",
             why="The program ends and the kernel closes every descriptor that is still open.",
             source="_exit(2)", lint="unclosed-at-exit"),
        rule("exit", "fd!=open", "ok", f"fd=gone {reset}",
             why="The program ends; this socket was closed, given away or never made.",
             source="_exit(2)"),
        rule("close", "fd=closed|detached", "EBADF", given="history=partial",
             why="Two objects held the same descriptor number, and the other one closed it.",
             source="close(2)"),
        rule("close", "fd=closed|detached", "ok",
             why="Python's close() may be repeated: the object knows that it holds no descriptor.",
             source="Python library, socket.close()",
             note="close(2) itself gives EBADF, or closes a stranger that got the same number."),
        rule("detach", "fd=closed|detached", "ok",
             why="Python's detach() gives -1 when the object holds no descriptor.",
             source="Python library, socket.detach()"),
        rule("*", "fd=none", "EBADF",
             why="There is no socket yet: socket() comes first.", source="errno(3)"),
        rule("*", "fd=closed", "EBADF",
             why="The socket was closed: its descriptor names nothing any more.",
             source="close(2)"),
        rule("*", "fd=detached", "EBADF",
             why="detach() gave the descriptor away: this object holds none.",
             source="Python library, socket.detach()"),
        rule("*", "fd=gone", "EBADF", why="The program has ended.", source="_exit(2)"),
        rule("*", "fd=open", "EBADF", f"fd=closed {reset}", given="history=partial",
             why="The descriptor was closed outside of Python's socket, by os.close() for example.",
             source="close(2)"),
        rule("close", "fd=open", "ok", f"fd=closed {reset}",
             why="close() gives the descriptor back; with its last copy the connection ends.",
             source="close(2)"),
        rule("detach", "fd=open", "ok", f"fd=detached {reset}",
             why="The descriptor leaves the object; whoever holds its number goes on with it.",
             source="Python library, socket.detach()"),
    )
