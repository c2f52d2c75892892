"""A small stream machine for the tests of pictures: enough of TCP to have every kind of edge."""

from sockfsm.model.flat import FlatMachine
from sockfsm.model.rules import Table, rule

_TOY = "toy"

_START = {
    "tcp": (
        rule("resolve", "fd=none", "ok", "resolved=yes", why=_TOY, source=_TOY),
        rule("create", "resolved=yes fd=none", "ok", "fd=open resolved=no", why=_TOY, source=_TOY),
    ),
    "unix-stream": (
        rule("unlink", "fd=none", "ok", why=_TOY, source=_TOY),
        rule("unlink", "fd=closed name=yes", "ok", "name=no", why=_TOY, source=_TOY),
        rule(
            "close", "role=listening", "ok", "fd=closed role=fresh wr=open", why=_TOY, source=_TOY
        ),
    ),
}


def _table(kind: str) -> Table:
    return Table(
        kind=kind,
        title=f"a toy {kind} socket",
        parts={
            "fd": ("none", "open", "closed", "exited"),
            "resolved": ("no", "yes"),
            "name": ("no", "yes"),
            "role": ("fresh", "listening", "connecting", "connected"),
            "rd": ("open", "shut", "ended"),
            "wr": ("open", "shut"),
        },
        environment={"peer": ("quiet", "sent", "closed")},
        rules=(
            *_START[kind],
            rule(
                "exit",
                "",
                "ok",
                "fd=exited resolved=no name=no role=fresh rd=open wr=open",
                why=_TOY,
                source=_TOY,
            ),
            rule("create", "fd=none", "ok", "fd=open", why=_TOY, source=_TOY),
            rule(
                "accepted",
                "fd=none",
                "ok",
                "fd=open resolved=no name=yes role=connected",
                why=_TOY,
                source=_TOY,
            ),
            rule("*", "fd!=open", "EBADF", why=_TOY, source=_TOY),
            rule(
                "close",
                "fd=open",
                "ok",
                "fd=closed name=no role=fresh rd=open wr=open",
                why=_TOY,
                source=_TOY,
            ),
            rule("bind", "name=yes", "EINVAL", why=_TOY, source=_TOY),
            rule("bind", "fd=open", "ok", "name=yes", why=_TOY, source=_TOY),
            rule(
                "listen",
                "role=fresh name=no",
                "ok",
                "role=listening name=yes",
                lint="no",
                why=_TOY,
                source=_TOY,
            ),
            rule("listen", "role=fresh", "ok", "role=listening", why=_TOY, source=_TOY),
            rule("listen", "role=listening", "ok", why=_TOY, source=_TOY),
            rule("listen", "fd=open", "EINVAL", why=_TOY, source=_TOY),
            rule("accept", "role=listening", "ok", given="peer=sent", why=_TOY, source=_TOY),
            rule("accept", "role=listening", "EAGAIN", why=_TOY, source=_TOY),
            rule("accept", "fd=open", "EINVAL", why=_TOY, source=_TOY),
            rule(
                "connect",
                "role=fresh",
                "ok",
                "role=connected name=yes",
                given="peer=sent",
                why=_TOY,
                source=_TOY,
            ),
            rule(
                "connect",
                "role=fresh",
                "EINPROGRESS",
                "role=connecting name=yes",
                why=_TOY,
                source=_TOY,
            ),
            rule("connect", "role=connecting", "ok", "role=connected", why=_TOY, source=_TOY),
            rule("connect", "fd=open", "EISCONN", why=_TOY, source=_TOY),
            rule("send", "role=fresh|listening|connecting", "EPIPE", why=_TOY, source=_TOY),
            rule("send", "wr=shut", "EPIPE", why=_TOY, source=_TOY),
            rule("send", "fd=open", "ok", given="peer=quiet", why=_TOY, source=_TOY),
            rule("send", "fd=open", "EAGAIN", why=_TOY, source=_TOY),
            rule("recv", "role=fresh|listening|connecting", "ENOTCONN", why=_TOY, source=_TOY),
            rule("recv", "rd=shut|ended", "eof", why=_TOY, source=_TOY),
            rule("recv", "role=connected", "ok", given="peer=sent", why=_TOY, source=_TOY),
            rule(
                "recv",
                "role=connected",
                "eof",
                "rd=ended",
                given="peer=closed",
                why=_TOY,
                source=_TOY,
            ),
            rule("recv", "role=connected", "EAGAIN", why=_TOY, source=_TOY),
            rule("shutdown_wr", "role=connected", "ok", "wr=shut", why=_TOY, source=_TOY),
            rule("shutdown_wr", "role=fresh", "ENOTCONN", "wr=shut", why=_TOY, source=_TOY),
            rule("shutdown_wr", "fd=open", "ENOTCONN", why=_TOY, source=_TOY),
        ),
        names=(
            ("fd=none resolved=no", "START"),
            ("fd=none", "RESOLVED"),
            ("fd=exited", "EXITED"),
            ("fd=closed name=yes", "CLOSED_PATH_LEFT"),
            ("fd=closed", "CLOSED"),
            ("role=listening", "LISTENING"),
            ("role=connecting", "CONNECTING"),
            ("role=connected rd=ended wr=shut", "BOTH_DONE"),
            ("role=connected rd=ended", "PEER_CLOSED"),
            ("role=connected wr=shut", "WRITE_SHUT"),
            ("role=connected", "CONNECTED"),
            ("name=yes", "BOUND"),
            ("name=no", "CREATED"),
            ("wr=shut role=fresh|listening|connecting", "+_WRITE_DEAD"),
        ),
    )


def machine(kind: str = "tcp") -> FlatMachine:
    """The toy, expanded."""
    return FlatMachine(_table(kind))
