"""The suites: the environment that a bench makes, and what the model is told of it. Pure data."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from sockfsm.conform import bench, rare, worlds
from sockfsm.conform.bench import BENCHES, Bench, Six, mixed
from sockfsm.conform.circumstances import (
    Absent,
    Blocking,
    Breaks,
    Closes,
    Foreign,
    Nowhere,
    Other,
    Queue,
    Resets,
    Sends,
    Sendto,
    ShutsWriting,
    Stale,
    Taken,
    Timeout,
)
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

    looks: also compare what can be seen from outside. birth: the call that made the socket.
    """

    kind: str
    name: str
    bench: type[Bench]
    given: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = _ASKING
    looks: bool = False
    birth: str = "create"

    def variant(self, call: str) -> str:
        """What a tracer knows of a call."""
        words = [word for word, facts in VARIANTS.items() if facts.items() <= self.given.items()]
        return " ".join(word for word in words if call == "send" or word != "address")

    @property
    def title(self) -> str:
        """`tcp: peer refuses`."""
        return f"{self.kind}: {self.name}"


_ACCEPTING = ("bind", "listen", "accept", "connect", "shutdown_rd", "close")
_FEW = ("bind", "listen", "connect", "send", "recv", "shutdown_rd", "close")
REFERENCE = "reference"

_STREAM, _DGRAM = ("tcp", "unix-stream"), ("udp", "unix-dgram")
_INET, _UNIX = ("tcp", "udp"), ("unix-stream", "unix-dgram")
_EVERY = tuple(BENCHES)
_Row = tuple[tuple[str, ...], str, tuple[type[Bench], ...], str]

_SURROUNDED: tuple[_Row, ...] = (
    (("tcp",), "so_error", (), ""),
    (("tcp",), "peer refuses", (worlds.Refuses,), "peer=refuses"),
    (_STREAM, "peer closes", (Closes,), "peer=closes"),
    (_STREAM, "peer shuts its writing side", (ShutsWriting,), "peer=ends"),
    (("tcp",), "peer resets", (Resets,), "peer=resets"),
    (("unix-stream",), "listener closes", (worlds.Dies,), "peer=resets"),
    (("tcp",), "peer ends, then resets", (Breaks,), "peer=breaks"),
    (_STREAM, "peer sends", (Sends,), "peer=sends"),
    (_DGRAM, "peer sends", (worlds.Supplied,), "peer=sends"),
    (("tcp",), "peer is silent (backlog full)", (worlds.Crowded,), "peer=silent"),
    (("tcp",), "connects to itself", (worlds.Itself,), "peer=itself"),
    (("udp",), "nobody is bound there", (worlds.Dead,), "peer=dead"),
    (("unix-dgram",), "peer died", (worlds.Dies,), "peer=dead"),
    (("unix-dgram",), "peer shut its reading side", (worlds.Deaf,), "peer=deaf"),
    (("unix-dgram",), "queue full", (worlds.FullQueue,), "room=no"),
    (("unix-stream",), "queue full", (worlds.Crowded,), "target=full"),
    (_STREAM, "clients wait", (Queue,), "queue=waiting"),
    # How the socket waits.
    (_EVERY, "blocking with a deadline", (Blocking,), "mode=blocking"),
    (_EVERY, "Python's timeout as a deadline", (Timeout,), "mode=timeout"),
    (("tcp",), "a deadline, peer refuses", (Timeout, worlds.Refuses), "mode=timeout peer=refuses"),
    (("tcp",), "blocking, peer refuses", (Blocking, worlds.Refuses), "mode=blocking peer=refuses"),
    (("tcp",), "blocking, peer closes", (Blocking, Closes), "mode=blocking peer=closes"),
    (("tcp",), "blocking, peer resets", (Blocking, Resets), "mode=blocking peer=resets"),
    (("tcp",), "blocking, peer ends", (Blocking, ShutsWriting), "mode=blocking peer=ends"),
    (("tcp",), "blocking, peer breaks", (Blocking, Breaks), "mode=blocking peer=breaks"),
    # What bind() asks for.
    (_INET, "name taken", (Taken,), "address=taken"),
    (("tcp",), "peer refuses, name taken", (Taken, worlds.Refuses), "peer=refuses address=taken"),
    (_INET, "foreign address", (Foreign,), "address=foreign"),
    (_INET, "port is privileged", (rare.Privileged,), "address=privileged"),
    (_UNIX, "path taken", (Taken,), "address=taken"),
    (_UNIX, "path in no folder", (Nowhere,), "address=nowhere"),
    (_UNIX, "name left to the kernel", (rare.Auto,), "address=auto"),
    (_UNIX, "abstract name", (rare.Abstract,), "address=abstract"),
    # Where connect() and sendto() go.
    (_UNIX, "stale path", (Stale,), "target=dead"),
    (_UNIX, "no such path", (Absent,), "target=absent"),
    (_UNIX, "path of another type", (Other,), "target=othertype"),
    (("udp", *_UNIX), "sendto", (Sendto,), "to=address"),
    (("unix-dgram",), "sendto a stale path", (Sendto, Stale), "target=dead to=address"),
    (("unix-dgram",), "sendto no path", (Sendto, Absent), "target=absent to=address"),
    (("unix-dgram",), "sendto another type", (Sendto, Other), "target=othertype to=address"),
    (_DGRAM, "too big", (rare.Big,), "size=big"),
)
"""(kinds, name, traits of the bench, facts for the model), where any call may differ."""

_NARROW: tuple[tuple[_Row, tuple[str, ...]], ...] = (
    ((_EVERY, "no descriptors", (rare.Descriptors,), "limit=descriptors"), _ACCEPTING),
    ((_STREAM, "buffers full", (rare.Full,), "room=no"), _FEW),
    (
        (("unix-stream",), "Python's timeout, listening", (Timeout,), "mode=timeout"),
        ("bind", "listen", "send", "recv", "shutdown_rd"),
    ),
    (
        (
            *(("tcp",), "the kernel gives up"),
            *((rare.GivesUp, worlds.Crowded), "mode=blocking peer=silent"),
        ),
        ("connect",),
    ),
)
"""The same with the only calls that differ there."""


def _reference() -> Iterator[Suite]:
    for kind, base in BENCHES.items():
        yield Suite(kind, REFERENCE, base, {}, WORDS, True)
    for kind in _INET:
        yield Suite(kind, "IPv6", mixed(BENCHES[kind], Six), {}, WORDS, True)


def _surrounded() -> Iterator[Suite]:
    for row, words in (*((row, _ASKING) for row in _SURROUNDED), *_NARROW):
        kinds, name, traits, given = row
        facts = dict(fact.split("=") for fact in given.split())
        for kind in kinds:
            yield Suite(kind, name, mixed(BENCHES[kind], *traits), facts, words)


def _by_methods() -> Iterator[Suite]:
    """Yield suites for all methods that send or receive, and for flags that change an outcome."""
    sends = {"peer": "sends"}
    for kind, base in BENCHES.items():
        supplying = Sends if base.type == socket.SOCK_STREAM else worlds.Supplied
        using = partial(mixed, base, rare.Using, supplying)
        for name, receive in (*list(RECEIVE.items())[1:], ("file.read", read)):
            yield Suite(kind, f"{name}()", using(receives=receive), sends, _FEW)
        for name, send in (*list(SEND.items())[1:], ("file.write", write)):
            given = {**sends, "to": "address"} if name == "sendto" and kind != "tcp" else sends
            yield Suite(kind, f"{name}()", using(sends=send), given, _FEW)
        for flag in ("PEEK", "DONTWAIT", "WAITALL"):
            given = {**sends, "flag": "peek"} if flag == "PEEK" else sends
            stage = using(flags=getattr(socket, f"MSG_{flag}"))
            yield Suite(kind, f"MSG_{flag}", stage, given, _FEW)
        nothing = {"length": "zero", "asked": "nobody"}
        yield Suite(kind, "recv(0)", mixed(base, rare.Using, size=0), nothing, _FEW)
        if kind != "unix-stream":  # there urgent data depends on how the kernel was built
            urgent = mixed(base, rare.Using, flags=socket.MSG_OOB)
            yield Suite(kind, "MSG_OOB", urgent, {"flag": "oob"}, _FEW)
        if kind in _INET:
            errors = mixed(base, rare.Using, flags=socket.MSG_ERRQUEUE)
            yield Suite(kind, "MSG_ERRQUEUE", errors, {"flag": "errqueue"}, _FEW)


def _by_births() -> Iterator[Suite]:
    """Yield suites for dup(), data sockets and pairs, and for other ways to connect."""
    for kind, base in BENCHES.items():
        yield Suite(kind, "two descriptors", mixed(base, rare.Twice), {}, _without_close(WORDS))
        yield Suite(kind, "connect_ex()", mixed(base, rare.Asking), {}, _FEW)
        if base.type == socket.SOCK_STREAM:
            made = {"made": "accept"} if kind == "unix-stream" else {}
            stage = mixed(base, rare.Data)
            yield Suite(kind, "data socket", stage, made, _ASKING, birth="accepted")
            stage = mixed(base, rare.Using, Blocking, sends=sendfile)
            given = {"mode": "blocking"}
            yield Suite(kind, "sendfile() with a deadline", stage, given, _without_close(_FEW))
        if base.family == socket.AF_UNIX:
            yield Suite(kind, "pair", mixed(base, rare.Pair), {}, birth="socketpair")
    for mode, peer, traits in (
        ("nonblocking", "waits", ()),
        ("blocking", "waits", (Blocking,)),
        ("timeout", "waits", (Timeout,)),
        ("timeout", "silent", (Timeout, worlds.Crowded)),
    ):
        given = {"mode": mode, "flag": "fastopen", "peer": peer}
        stage = mixed(bench.TcpBench, rare.FastOpen, *traits)
        words = ("bind", "listen", "connect", "shutdown_rd", "close")
        yield Suite("tcp", f"Fast Open, {mode}, peer {peer}", stage, given, words)


def _without_close(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word != "close")


_ALL = (*_reference(), *_surrounded(), *_by_methods(), *_by_births())
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
