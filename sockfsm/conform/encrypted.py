"""Random calls on both ends of a TLS connection. The trace must explain what ssl did to the sockets.

The sockets of `ssl` bypass the methods that a tracer replaces, and raise exceptions of their own.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random
from socket import SHUT_RDWR, SHUT_WR, socket

from sockfsm.conform.bench import BENCHES, Bench
from sockfsm.conform.circumstances import reset
from sockfsm.conform.ramble import LONGEST, SHORTEST, Fault
from sockfsm.conform.scenes import Action
from sockfsm.conform.secure import context
from sockfsm.conform.traced import Tracer
from sockfsm.tracer.witness import facts, fits

KINDS = ("tcp", "unix-stream")
_TIMEOUT = 0.001
_WORDS: Mapping[str, Callable[[ssl.SSLSocket], object]] = {
    "do_handshake": lambda end: end.do_handshake(),
    "send": lambda end: end.send(b"data"),
    "sendall": lambda end: end.sendall(bytes(100_000)),
    "recv": lambda end: end.recv(16),
    "recv_into": lambda end: end.recv_into(bytearray(16)),
    "pending": lambda end: end.pending(),
    "unwrap": lambda end: end.unwrap(),
    "shutdown_wr": lambda end: end.shutdown(SHUT_WR),
    "shutdown_rdwr": lambda end: end.shutdown(SHUT_RDWR),
    "nonblocking": lambda end: end.setblocking(False),
    "timeout": lambda end: end.settimeout(_TIMEOUT),
    "close": lambda end: end.close(),
    "reset": reset,
}
_OFTEN = ("send", "send", "recv", "recv", "recv", "recv_into", "sendall")
_LUCK = (*_WORDS, *_OFTEN, *_OFTEN)


def encrypt(kind: str, seed: int, numbers: range, lane: int, tracer: Tracer) -> Iterator[Fault]:
    """Run the sequences with these numbers, each on a new connection."""
    with BENCHES[kind](lane) as bench:
        for number in numbers:
            luck, told = Random(f"{kind} {seed} {number} encrypted"), list[Action]()
            ends = dict(zip(("client", "server"), _ends(bench, luck), strict=True))
            for _ in range(luck.randint(SHORTEST, LONGEST)):
                name, word = luck.choice(tuple(ends)), luck.choice(_LUCK)
                end = ends[name]
                told.append(Action(f"{name} {word}"))
                # The other two are what ssl says of an end whose TLS has ended.
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    _WORDS[word](end)
                if end.fileno() >= 0 and not fits(end, tracer.row(end)):
                    what = f"{tracer.states(end)} fits none of {facts(end)}"
                    yield Fault(kind, seed, number, tuple(told), what)
                    break
            for end in ends.values():
                reset(end)


def _ends(bench: Bench, luck: Random) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Both ends of a connection with TLS; in three of four cases the handshake is done."""
    client = bench.begin()
    client.settimeout(None)
    assert bench.peer is not None
    client.connect(bench.target())
    bench.peer.settimeout(None)
    server = bench.peer.accept()[0]
    wrap = partial(_wrapped, shakes=luck.random() < 0.75)
    ends: list[ssl.SSLSocket] = []
    answering = threading.Thread(target=lambda: ends.append(wrap(server, True)))
    answering.start()
    ends.append(wrap(client, False))
    answering.join()
    ends.sort(key=lambda end: end.server_side)
    for end in ends:
        end.settimeout(luck.choice((0.0, _TIMEOUT)))
    return ends[0], ends[1]


def _wrapped(sock: socket, server: bool, shakes: bool) -> ssl.SSLSocket:
    return context(server).wrap_socket(sock, server, do_handshake_on_connect=shakes)
