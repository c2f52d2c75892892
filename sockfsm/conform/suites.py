"""The suites: which environment a bench makes, and what the model is told of it. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sockfsm.conform import bench, worlds
from sockfsm.conform.bench import Bench
from sockfsm.errors import UsageError

WORDS = (
    *("bind", "listen", "accept", "connect", "send", "recv"),
    *("shutdown_rd", "shutdown_wr", "shutdown_rdwr", "disconnect", "close"),
)
_ASKING = (*WORDS, "so_error")


@dataclass(frozen=True)
class Suite:
    """A kind in one environment. looks: whether the state is compared from outside, too."""

    kind: str
    name: str
    bench: type[Bench]
    given: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = _ASKING
    looks: bool = False

    @property
    def title(self) -> str:
        """`tcp: peer refuses`."""
        return f"{self.kind}: {self.name}"


REFERENCE = "reference"

_ALL = (
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
