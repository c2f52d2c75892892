"""TCP over IPv4 and IPv6: how a connection is taken down, and what is left to be read of its error.

A part of the table in tcp.py.
"""

from __future__ import annotations

from sockfsm.model.rules import Rule, rule
from sockfsm.model.tcp_doubts import DOUBTS
from sockfsm.model.tcp_transfer import GONE, MEASURED

# A rule is a paragraph: situation and outcome first, then why and source.
# fmt: off

CLEAN = "role=fresh peer=open rd=open wr=open own=none"
"""A socket that connect() or listen() finds as good as new."""


def _shutdown(call: str, fresh: str, shut: str) -> tuple[Rule, ...]:
    """`fresh`: what the failing call shuts all the same; `shut`: what it shuts on a connection."""
    writes = call != "shutdown_rd"
    listener = (
        rule(call, "role=listening", "ok",
             why="Linux ignores the writing side of a listening socket.", source=MEASURED,
             note="POSIX and the BSDs answer ENOTCONN.")
        if call == "shutdown_wr" else
        rule(call, "role=listening", "ok", f"{CLEAN} name=no",
             why="The socket stops listening and is like a fresh one; connections in its queue are "
             "reset, blocked accept() calls end with EINVAL, listen() would revive it.",
             source=MEASURED, note="POSIX and the BSDs answer ENOTCONN.")
    )
    finish = (
        rule(call, "role=connecting|established|connected peer=open wr=open|muted", "ok",
             f"{GONE} role=connected peer=done", given="peer=ends|closes|itself",
             why="Our FIN answers the peer's, which nobody has read yet, or is answered by itself "
             "where the peer is this socket: both directions are over.",
             source="shutdown(2), RFC 9293 3.6"),
        rule(call, "peer=closed", "ok", f"{GONE} role=connected peer=done",
             why="Our FIN answers the peer's: both directions are over.",
             source="shutdown(2), RFC 9293 3.6"),
    )
    return (
        listener,
        rule(call, "role=fresh", "ENOTCONN", fresh,
             why="There is no connection to shut, and yet the flag stays: a later connection cannot "
             "use this direction.", source=MEASURED,
             note="POSIX names ENOTCONN and no effect."),
        rule(call, "role=stuck", "ENOTCONN", why="There is no connection.", source="shutdown(2)"),
        rule(call, "role=connecting|established peer=reset", "ENOTCONN",
             "role=stuck peer=open rd=shut wr=shut",
             why="The attempt has failed: there is no connection. connect() will say EINVAL now.",
             source=MEASURED),
        rule(call, "role=connecting|established peer=open", "ENOTCONN",
             f"{GONE} peer=open role=stuck err=pending", given="peer=refuses|resets",
             why="The attempt has failed, with its error unread: connect() will say EINVAL now.",
             source=MEASURED),
        rule(call, "role=connecting|established peer=open", "ENOTCONN",
             f"{GONE} peer=open role=stuck err=pipe", given="peer=breaks", aside=True,
             why="The peer's FIN and then its RST ended the connection; the error is unread.",
             source=MEASURED),
        rule(call, "role=connecting peer=open", "ok",
             f"{CLEAN} name=no err=pending", given="peer=silent|lost",
             why="shutdown() while the SYN is unanswered gives the attempt up: the socket is fresh, "
             "with an ECONNRESET pending.", source=MEASURED),
        rule(call, "peer=done", "ok", given="wire=slow",
             why="The last FIN is not acknowledged yet.", source="RFC 9293 3.6"),
        rule(call, "peer=reset|done", "ENOTCONN", why="The connection is over.",
             source="shutdown(2)"),
        rule(call, "peer=open", "ENOTCONN", f"{GONE} err=pending", given="peer=resets",
             why="The peer reset the connection; the error is still waiting to be read.",
             source="shutdown(2), measured"),
        rule(call, "peer=open|closed", "ENOTCONN", f"{GONE} err=pipe", given="peer=breaks", aside=True,
             why="The peer's FIN and then its RST ended the connection; the error is unread.",
             source=MEASURED),
        rule(call, "role=connected peer=open|closed", "ENOTCONN", f"{GONE} peer=done",
             given="made=shut", aside=True,
             why="The listening socket was shut before listen(), and its data socket with it: the "
             "peer's FIN made both directions over.", source=MEASURED),
        rule(call, "role=connected wr=shut", "ENOTCONN", f"{GONE} peer=done",
             given="peer=ends|closes",
             why="The peer's FIN came, too: both directions are over.", source="shutdown(2)"),
        *(finish if writes else ()),
        rule(call, "", "ok", f"role=connected {shut}",
             why={
                 "shutdown_rd": "recv() gives b'' from now on; the peer is not told.",
                 "shutdown_wr": "A FIN tells the peer that nothing more will come; receiving goes on.",
                 "shutdown_rdwr": "A FIN is sent, and recv() gives b'' from now on.",
             }[call], source="shutdown(2), RFC 9293 3.6"),
    )


SHUTDOWN = (
    *_shutdown("shutdown_rd", "rd=shut", "rd=shut"),
    *_shutdown("shutdown_wr", "wr=muted", "wr=shut"),
    *_shutdown("shutdown_rdwr", "rd=shut wr=muted", "rd=shut wr=shut"),
)

DISCONNECT = (
    rule("disconnect", "role=fresh|stuck", "ok", CLEAN,
         why="connect() to AF_UNSPEC makes the socket fresh; shut directions are open again.",
         source="connect(2), measured"),
    rule("disconnect", "role=listening", "ok", f"{CLEAN} name=no",
         why="The socket stops listening; connections in its queue are reset.", source=MEASURED),
    rule("disconnect", "peer=reset|done", "ok", CLEAN,
         why="The connection is over already: the socket is fresh again.", source=MEASURED),
    rule("disconnect", "", "ok", f"{CLEAN} name=no err=pipe", given="peer=breaks", aside=True,
         why="The connection is over already; its error is still waiting to be read.",
         source=MEASURED),
    rule("disconnect", "", "ok", f"{CLEAN} name=no err=pending",
         why="The connection is reset (a RST is sent), the assigned port goes back, and an "
         "ECONNRESET stays pending for the next call that reports errors.",
         source="connect(2), measured",
         note="POSIX leaves AF_UNSPEC on connection-mode sockets unspecified."),
)

SO_ERROR = (
    rule("so_error", "err=pipe", "EPIPE", "err=none",
         why="The pending error is read and cleared.", source="socket(7)"),
    rule("so_error", "err=pending", "ECONNREFUSED", "err=none", given="peer=refuses",
         why="The pending error is read and cleared.", source="socket(7)"),
    rule("so_error", "err=pending", "ECONNRESET", "err=none",
         why="The pending error is read and cleared.", source="socket(7)"),
    *(rule("so_error", "role=connected peer=open|closed", outcome, given="network=doubts", aside=True,
           why="An ICMP error came, and is no more than a doubt to TCP, which goes on: SO_ERROR tells "
           "of it once.", source="RFC 5461, measured")
      for outcome in DOUBTS),
    rule("so_error", "role=connecting|established peer=open", "ECONNREFUSED",
         GONE, given="peer=refuses",
         why="The attempt failed: nobody listens there. Reading the error clears it, so the next "
         "connect() says ECONNABORTED.", source="connect(2), socket(7), measured"),
    rule("so_error", "role=connecting|established peer=open", "ECONNRESET",
         GONE, given="peer=resets",
         why="The connection was reset; reading the error clears it.", source="socket(7)"),
    rule("so_error", "role=connecting|established peer=open", "ETIMEDOUT",
         GONE, given="peer=lost",
         why="No SYN was answered: the kernel gave up.", source="connect(2), socket(7)"),
    rule("so_error", "role=connecting|established peer=open", "EHOSTUNREACH",
         GONE, given="network=unreachable",
         why="The host cannot be reached.", source="ip(7), socket(7)"),
    rule("so_error", "role=connecting|established peer=open", "ENETUNREACH",
         GONE, given="network=unreachable",
         why="The network cannot be reached.", source="ip(7), socket(7)"),
    rule("so_error", "role=connected peer=open|closed", "ECONNRESET", GONE,
         given="peer=resets",
         why="The peer reset the connection; reading the error clears it.", source="socket(7)"),
    rule("so_error", "role=connecting|connected|established peer=open|closed", "EPIPE", GONE,
         given="peer=breaks", aside=True,
         why="The peer's FIN and then its RST ended the connection; reading the error clears it.",
         source="socket(7)"),
    rule("so_error", "role=connected peer=open|closed", "ETIMEDOUT", GONE,
         given="peer=lost", why="The peer answers no more.", source="tcp(7), socket(7)"),
    rule("so_error", "role=connecting peer=open", "ok", given="peer=silent",
         why="No error so far, and no answer either: ask when the socket is writable.",
         source="connect(2)"),
    rule("so_error", "role=connecting peer=open", "ok", "role=established",
         why="No error: once the socket is writable this means that it is connected.",
         source="connect(2), socket(7)"),
    rule("so_error", "", "ok", why="No error is pending.", source="socket(7)"),
)
