"""The lints: what the kernel lets through although it is almost always a mistake. Pure data.

A `rule` lint belongs to rules of the machines, so `check`, the log and tests find it. A `trace` lint
needs more than one call, or a value that the machine does not know (a count, an option).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sockfsm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Lint:
    """A named mistake: its one-line title, what happens, what to do, and where it is found."""

    name: str
    title: str
    why: str
    instead: str
    found: str


# fmt: off
_ALL = (
    Lint("unbound-listen", "listen() without bind()",
         "The kernel picks a port that no client knows.",
         "call bind() with the port that clients use, or tell them what getsockname() says", "rule"),
    Lint("stale-path", "the path of an earlier run was not removed",
         "A UNIX path stays in the file system when its socket is closed, and bind() finds it.",
         "unlink the path before bind(), when nobody listens behind it any more", "rule"),
    Lint("path-not-unlinked", "the program ended and left its UNIX path behind",
         "The next run's bind() will give EADDRINUSE.",
         "unlink the path after close(), or register it with atexit", "rule"),
    Lint("unclosed-at-exit", "a socket was still open when the program ended",
         "The kernel closes it, without the order that close() and shutdown() would give.",
         "close every socket; `with` does it by itself", "rule"),
    Lint("unclosed-data-socket", "a data socket was never closed",
         "Each accept() makes a descriptor of its own: a server that keeps them runs into EMFILE.",
         "close the data socket when its client is served; `with conn:` does it by itself", "trace"),
    Lint("send-after-peer-closed", "send() after the peer closed",
         "The first one succeeds and its data is lost; the RST that comes back makes the next EPIPE.",
         "stop sending when recv() gave b'', unless the peer only shut its writing side", "rule"),
    Lint("data-on-listener", "data on the listening socket",
         "A listening socket carries no data: the kernel refuses send() and recv() on it.",
         "use the data socket: conn, peer = listener.accept(); conn.recv(...)", "trace"),
    Lint("eof-ignored", "recv() again after b''",
         "b'' means that the peer will send no more: a loop that goes on spins for ever.",
         "leave the loop when recv() gives b''", "rule"),
    Lint("short-send", "a short send() was ignored",
         "send() may take only a part of the data and says how much: the rest is not sent.",
         "use sendall(), or send the rest", "trace"),
    Lint("missing-reuseaddr", "bind() to a port in use: SO_REUSEADDR may be missing",
         "Another program listens there, or connections that this side closed first are still in "
         "TIME_WAIT, for a minute: without SO_REUSEADDR these give a restarted server EADDRINUSE.",
         "end the other program (ss -tlnp names it), or setsockopt(SOL_SOCKET, SO_REUSEADDR, 1) "
         "before bind(), as socket.create_server() does",
         "trace"),
    Lint("unbound-recv", "recv() on a datagram socket without a name",
         "Nobody can send to a socket without a port or path: a blocking recv() waits for ever.",
         "bind() first, or send something, which binds an INET socket", "rule"),
    Lint("bind-connected", "bind() on a connected UNIX socket",
         "It makes a path that nobody can connect to.",
         "bind() before connect(), or not at all", "rule"),
    Lint("shutdown-unconnected", "shutdown() without a connection",
         "Linux lets it through on UNIX sockets, and a later connection is shut from the start.",
         "shutdown() connections only; close() ends a socket", "rule"),
)

# fmt: on

LINTS = {lint.name: lint for lint in _ALL}
"""Name -> lint."""


def enabled(off: Iterable[str] = ()) -> dict[str, Lint]:
    """All lints but those named in `off`. UsageError for an unknown name."""
    names = set(off)
    unknown = sorted(names - LINTS.keys())
    if unknown:
        raise UsageError(f"no lint {unknown[0]!r}: there are {', '.join(LINTS)}")
    return {name: lint for name, lint in LINTS.items() if name not in names}
