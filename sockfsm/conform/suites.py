"""The suites: which environment a bench makes, and what the model is told of it. Pure data."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sockfsm.conform import bench, rare, worlds
from sockfsm.conform.bench import BENCHES, Bench
from sockfsm.conform.circumstances import Timeout
from sockfsm.conform.methods import RECEIVE, SEND, read, sendfile, write
from sockfsm.errors import UsageError
from sockfsm.model.variants import VARIANTS

WORDS = (
    *("bind", "listen", "accept", "connect", "send", "recv"),
    *("shutdown_rd", "shutdown_wr", "shutdown_rdwr", "disconnect", "close"),
)
_ASKING = (*WORDS, "so_error")


@dataclass(frozen=True)
class Suite:
    """A kind in one environment.

    looks: whether the state is compared from outside, too. birth: the call that made the socket.
    """

    kind: str
    name: str
    bench: type[Bench]
    given: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = _ASKING
    looks: bool = False
    birth: str = "create"

    def variant(self, call: str) -> str:
        """What somebody who watches knows of a call."""
        words = [word for word, facts in VARIANTS.items() if facts.items() <= self.given.items()]
        return " ".join(word for word in words if call == "send" or word != "address")

    @property
    def title(self) -> str:
        """`tcp: peer refuses`."""
        return f"{self.kind}: {self.name}"


_ACCEPTING = ("bind", "listen", "accept", "connect", "shutdown_rd", "close")
REFERENCE = "reference"

_COMMON = (
    Suite("tcp", REFERENCE, bench.TcpBench, {}, WORDS, True),
    Suite("udp", REFERENCE, bench.UdpBench, {}, WORDS, True),
    Suite("unix-stream", REFERENCE, bench.UnixBench, {}, WORDS, True),
    Suite("unix-dgram", REFERENCE, bench.UnixDatagramBench, {}, WORDS, True),
    Suite("tcp", "IPv6", bench.Tcp6Bench, {}, WORDS, True),
    Suite("udp", "IPv6", bench.Udp6Bench, {}, WORDS, True),
    Suite("tcp", "so_error", bench.TcpBench),
    Suite("tcp", "peer refuses", worlds.TcpRefuses, {"peer": "refuses"}),
    Suite("tcp", "peer closes", worlds.TcpCloses, {"peer": "closes"}),
    Suite("tcp", "peer shuts its writing side", worlds.TcpEnds, {"peer": "ends"}),
    Suite("tcp", "peer resets", worlds.TcpResets, {"peer": "resets"}),
    Suite("tcp", "peer sends", worlds.TcpSends, {"peer": "sends"}),
    Suite("tcp", "peer is silent (backlog full)", worlds.TcpSilent, {"peer": "silent"}),
    Suite("tcp", "connects to itself", worlds.TcpItself, {"peer": "itself"}),
    Suite("tcp", "clients wait", worlds.TcpQueue, {"queue": "waiting"}),
    Suite("tcp", "blocking with a deadline", worlds.TcpBlocking, {"mode": "blocking"}),
    Suite("tcp", "Python's timeout as a deadline", worlds.TcpTimeout, {"mode": "timeout"}),
    Suite(
        "tcp",
        "a deadline, peer refuses",
        worlds.TcpTimeoutRefused,
        {"mode": "timeout", "peer": "refuses"},
    ),
    Suite(
        "tcp",
        "blocking, peer refuses",
        worlds.TcpBlockingRefused,
        {"mode": "blocking", "peer": "refuses"},
    ),
    Suite(
        "tcp",
        "blocking, peer closes",
        worlds.TcpBlockingCloses,
        {"mode": "blocking", "peer": "closes"},
    ),
    Suite("tcp", "name taken", worlds.TcpTaken, {"address": "taken"}),
    Suite("tcp", "foreign address", worlds.TcpForeign, {"address": "foreign"}),
    Suite("udp", "name taken", worlds.UdpTaken, {"address": "taken"}),
    Suite("udp", "foreign address", worlds.UdpForeign, {"address": "foreign"}),
    Suite("unix-stream", "path taken", worlds.UnixTaken, {"address": "taken"}),
    Suite("unix-stream", "path in no folder", worlds.UnixNowhere, {"address": "nowhere"}),
    Suite("unix-dgram", "path taken", worlds.DatagramTaken, {"address": "taken"}),
    Suite("unix-dgram", "path in no folder", worlds.DatagramNowhere, {"address": "nowhere"}),
    Suite("udp", "nobody is bound there", worlds.UdpDead, {"peer": "dead"}),
    Suite("udp", "peer sends", worlds.UdpSends, {"peer": "sends"}),
    Suite("udp", "sendto", worlds.UdpSendto, {"to": "address"}),
    Suite("udp", "blocking with a deadline", worlds.UdpBlocking, {"mode": "blocking"}),
    Suite("udp", "Python's timeout as a deadline", worlds.UdpTimeout, {"mode": "timeout"}),
    Suite("unix-stream", "peer closes", worlds.UnixCloses, {"peer": "closes"}),
    Suite("unix-stream", "peer shuts its writing side", worlds.UnixEnds, {"peer": "ends"}),
    Suite("unix-stream", "listener closes", worlds.UnixResets, {"peer": "resets"}),
    Suite("unix-stream", "peer sends", worlds.UnixSends, {"peer": "sends"}),
    Suite("unix-stream", "queue full", worlds.UnixFull, {"target": "full"}),
    Suite("unix-stream", "stale path", worlds.UnixStale, {"target": "dead"}),
    Suite("unix-stream", "no such path", worlds.UnixAbsent, {"target": "absent"}),
    Suite("unix-stream", "path of another type", worlds.UnixOther, {"target": "othertype"}),
    Suite("unix-stream", "clients wait", worlds.UnixQueue, {"queue": "waiting"}),
    Suite("unix-stream", "sendto", worlds.UnixSendto, {"to": "address"}),
    Suite("unix-stream", "blocking with a deadline", worlds.UnixBlocking, {"mode": "blocking"}),
    Suite("unix-stream", "Python's timeout as a deadline", worlds.UnixTimeout, {"mode": "timeout"}),
    Suite("unix-dgram", "peer died", worlds.DatagramDead, {"peer": "dead"}),
    Suite("unix-dgram", "peer shut its reading side", worlds.DatagramDeaf, {"peer": "deaf"}),
    Suite("unix-dgram", "peer sends", worlds.DatagramSends, {"peer": "sends"}),
    Suite("unix-dgram", "queue full", worlds.DatagramFull, {"room": "no"}),
    Suite("unix-dgram", "stale path", worlds.DatagramStale, {"target": "dead"}),
    Suite("unix-dgram", "no such path", worlds.DatagramAbsent, {"target": "absent"}),
    Suite("unix-dgram", "path of another type", worlds.DatagramOther, {"target": "othertype"}),
    Suite("unix-dgram", "sendto", worlds.DatagramSendto, {"to": "address"}),
    Suite("unix-dgram", "blocking with a deadline", worlds.DatagramBlocking, {"mode": "blocking"}),
    Suite(
        "unix-dgram", "Python's timeout as a deadline", worlds.DatagramTimeout, {"mode": "timeout"}
    ),
)

_FEW = ("bind", "listen", "connect", "send", "recv", "shutdown_rd", "close")
_RARE = (
    *(
        Suite("tcp", f"blocking, peer {peer}", bench, {"mode": "blocking", "peer": peer})
        for peer, bench in (
            ("resets", rare.TcpBlockingResets),
            ("ends", rare.TcpBlockingEnds),
            ("breaks", rare.TcpBlockingBreaks),
        )
    ),
    Suite(
        "unix-stream",
        "Python's timeout, listening",
        worlds.UnixTimeout,
        {"mode": "timeout"},
        ("bind", "listen", "send", "recv", "shutdown_rd"),
    ),
    Suite("tcp", "peer ends, then resets", rare.TcpBreaks, {"peer": "breaks"}),
    Suite("tcp", "port is privileged", rare.TcpPrivileged, {"address": "privileged"}),
    Suite("udp", "port is privileged", rare.UdpPrivileged, {"address": "privileged"}),
    Suite("tcp", "no descriptors", rare.TcpDescriptors, {"limit": "descriptors"}, _ACCEPTING),
    Suite("udp", "no descriptors", rare.UdpDescriptors, {"limit": "descriptors"}, _ACCEPTING),
    Suite(
        "unix-stream", "no descriptors", rare.UnixDescriptors, {"limit": "descriptors"}, _ACCEPTING
    ),
    Suite(
        "unix-dgram",
        "no descriptors",
        rare.DatagramDescriptors,
        {"limit": "descriptors"},
        _ACCEPTING,
    ),
    Suite("udp", "too big", rare.UdpBig, {"size": "big"}),
    Suite("unix-dgram", "too big", rare.DatagramBig, {"size": "big"}),
    Suite("tcp", "buffers full", rare.TcpRoom, {"room": "no"}, _FEW),
    Suite("unix-stream", "buffers full", rare.UnixRoom, {"room": "no"}, _FEW),
    Suite(
        "tcp",
        "the kernel gives up",
        rare.TcpGivesUp,
        {"mode": "blocking", "peer": "silent"},
        ("connect",),
    ),
    Suite(
        "unix-dgram",
        "sendto a stale path",
        rare.DatagramSendtoStale,
        {"target": "dead", "to": "address"},
    ),
    Suite(
        "unix-dgram",
        "sendto no path",
        rare.DatagramSendtoAbsent,
        {"target": "absent", "to": "address"},
    ),
    Suite(
        "unix-dgram",
        "sendto another type",
        rare.DatagramSendtoOther,
        {"target": "othertype", "to": "address"},
    ),
    Suite("unix-stream", "name left to the kernel", rare.UnixAuto, {"address": "auto"}),
    Suite("unix-dgram", "name left to the kernel", rare.DatagramAuto, {"address": "auto"}),
    Suite("unix-stream", "abstract name", rare.UnixAbstract, {"address": "abstract"}),
    Suite("unix-dgram", "abstract name", rare.DatagramAbstract, {"address": "abstract"}),
)


_BLOCKING = {"tcp": worlds.TcpBlocking, "unix-stream": worlds.UnixBlocking}


def _by_methods() -> Iterator[Suite]:
    """Every method by which something is sent or received, and the flags that change an outcome."""
    for kind, base in rare.SENDING.items():
        sends = {"peer": "sends"}
        for name, receive in (*list(RECEIVE.items())[1:], ("file.read", read)):
            yield Suite(kind, f"{name}()", rare.using(base, receives=receive), sends, _FEW)
        for name, send in (*list(SEND.items())[1:], ("file.write", write)):
            given = {**sends, "to": "address"} if name == "sendto" and kind != "tcp" else sends
            yield Suite(kind, f"{name}()", rare.using(base, sends=send), given, _FEW)
        for flag in ("PEEK", "DONTWAIT", "WAITALL"):
            stage = rare.using(base, flags=getattr(socket, f"MSG_{flag}"))
            given = {**sends, "flag": "peek"} if flag == "PEEK" else sends
            yield Suite(kind, f"MSG_{flag}", stage, given, _FEW)
    for kind, base in BENCHES.items():
        nothing = {"length": "zero", "asked": "nobody"}
        yield Suite(kind, "recv(0)", rare.using(base, size=0), nothing, _FEW)
        urgent = rare.using(base, flags=socket.MSG_OOB)
        if kind != "unix-stream":  # where urgent data is a matter of how the kernel was built
            yield Suite(kind, "MSG_OOB", urgent, {"flag": "oob"}, _FEW)
    for kind in ("tcp", "udp"):
        errors = rare.using(BENCHES[kind], flags=socket.MSG_ERRQUEUE)
        yield Suite(kind, "MSG_ERRQUEUE", errors, {"flag": "errqueue"}, _FEW)


def _by_births() -> Iterator[Suite]:
    """Descriptors that dup() made, data sockets, pairs; and other ways to connect."""
    for kind, base in BENCHES.items():
        words = tuple(word for word in WORDS if word != "close")
        yield Suite(kind, "two descriptors", rare.mixed(rare.Twice, base), {}, words)
        yield Suite(kind, "connect_ex()", rare.mixed(rare.Asking, base), {}, _FEW)
        if base.type == socket.SOCK_STREAM:
            made = {"made": "accept"} if kind == "unix-stream" else {}
            stage = rare.mixed(rare.Data, base)
            yield Suite(kind, "data socket", stage, made, _ASKING, birth="accepted")
            stage = rare.using(_BLOCKING[kind], sends=sendfile)
            few = tuple(word for word in _FEW if word != "close")
            yield Suite(kind, "sendfile() with a deadline", stage, {"mode": "blocking"}, few)
        if base.family == socket.AF_UNIX:
            yield Suite(kind, "pair", rare.mixed(rare.Pair, base), {}, birth="socketpair")
    words = ("bind", "listen", "connect", "shutdown_rd", "close")
    for mode, peer, base in (
        ("nonblocking", "waits", bench.TcpBench),
        ("blocking", "waits", worlds.TcpBlocking),
        ("timeout", "waits", worlds.TcpTimeout),
        ("timeout", "silent", rare.mixed(Timeout, worlds.TcpSilent)),
    ):
        given = {"mode": mode, "flag": "fastopen", "peer": peer}
        stage = rare.mixed(rare.FastOpen, base)
        yield Suite("tcp", f"Fast Open, {mode}, peer {peer}", stage, given, words)


_ALL = (*_COMMON, *_RARE, *_by_methods(), *_by_births())
SUITES = {suite.title: suite for suite in _ALL}
"""Title -> suite, reference environments first."""


def suites(kind: str = "", names: tuple[str, ...] = ()) -> list[Suite]:
    """The suites of a kind ('' for all kinds) whose names are in `names` (() for all).

    UsageError for a name that no suite has.
    """
    chosen = [suite for suite in _ALL if kind in ("", suite.kind)]
    for name in names:
        if not any(suite.name == name for suite in chosen):
            known = ", ".join(dict.fromkeys(suite.name for suite in chosen))
            raise UsageError(f"no suite {name!r}: there are {known}")
    return [suite for suite in chosen if not names or suite.name in names]
