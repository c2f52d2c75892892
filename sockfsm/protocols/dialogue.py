"""One dialogue in a protocol: the bytes of both ends become requests and replies, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sockfsm.model.rules import ACCEPTED, OK
from sockfsm.protocols.protocol import CLIENT, Protocol, Reader

LONGEST = 1 << 20
"""Bytes without an end of a message after which it is given up."""


class Exchange(NamedTuple):
    """A request and its reply.

    begin, end: when the last byte of the request, and of the reply, was seen, ns; end is None without
    a reply. outcome: `ok`, the code of a refusal, '' without a reply. before, after: states. explained:
    a rule of the machine fits. predicted: the outcome with which the machine refuses it in `before`,
    '' where the request is legal. why: of a refused or unexplained one.
    """

    request: str
    begin: int
    end: int | None
    outcome: str
    before: str
    after: str
    explained: bool = True
    predicted: str = ""
    why: str = ""
    source: str = ""

    @property
    def illegal(self) -> bool:
        """The request came in an order that the machine refuses."""
        return bool(self.predicted)


@dataclass
class _Side:
    """What one end has said and nobody has read yet."""

    said: bytearray = field(default_factory=bytearray)
    time: int = 0


class Dialogue:
    """The state of one dialogue. exchanges: what was said so far. broken: why nothing more is read.

    pending: requests without a reply, as (request, ns), oldest first.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.state = protocol.machine.initial
        self.exchanges: list[Exchange] = []
        self.pending: list[tuple[str, int]] = []
        self.broken = ""
        self._client, self._server = _Side(), _Side()
        if protocol.greeting:
            self.pending.append((protocol.greeting, 0))

    def feed(self, who: str, data: bytes, time: int) -> None:
        """Bytes that CLIENT or SERVER has sent, in order. time: ns."""
        side = self._client if who == CLIENT else self._server
        side.said += data
        side.time = time
        self._read()

    def would_refuse(self, data: bytes) -> Exchange | None:
        """The first request that the client would make by these bytes, where the machine refuses it."""
        try:
            found = self.protocol.requests(bytes(self._client.said) + data, self.state)
        except ValueError:
            return None
        if found is None or (self.pending and self.protocol.replies is not None):
            return None
        judged = self._judged(found[0], 0, None, "")
        return judged if judged.illegal else None

    def end(self) -> None:
        """Nothing more will be said: what has no reply is an exchange, too."""
        for request, time in self.pending:
            if time:
                self.exchanges.append(self._judged(request, time, None, ""))
        self.pending.clear()

    def _read(self) -> None:
        """Reads on where that is possible: a reply may change how the next request is read."""
        more = not self.broken
        while more and not self.broken:
            more = self._answered() or self._asked()

    def _answered(self) -> bool:
        read = self.protocol.replies
        if read is None or not self.pending:
            return False
        request, begin = self.pending[0]
        outcome = self._message(self._server, read, request)
        if outcome is None:
            return False
        del self.pending[0]
        self._add(self._judged(request, begin or self._server.time, self._server.time, outcome))
        return True

    def _asked(self) -> bool:
        # What a request is may depend on the reply to the one before (SMTP's DATA), so a pipelined
        # one waits for it.
        if self.pending and self.protocol.replies is not None:
            return False
        side = self._client
        request = self._message(side, self.protocol.requests, self.state)
        if request is None:
            return False
        if self.protocol.replies is not None:
            self.pending.append((request, side.time))
            return True
        silent = self._judged(request, side.time, side.time, "")
        self._add(self._judged(request, side.time, side.time, silent.predicted or OK))
        return True

    def _message(self, side: _Side, read: Reader, known: str) -> str | None:
        if not side.said:
            return None
        try:
            found = read(bytes(side.said), known)
        except ValueError as error:
            self.broken = str(error)
            return None
        if found is None:
            if len(side.said) > LONGEST:
                self.broken = f"no message ends within {LONGEST:,} bytes"
            return None
        name, size = found
        del side.said[:size]
        return name

    def _add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.state = exchange.after

    def _judged(self, request: str, begin: int, end: int | None, outcome: str) -> Exchange:
        machine, before = self.protocol.machine, self.state
        if request not in machine.calls:
            why = f"{self.protocol.name} has no {request}"
            return Exchange(request, begin, end, outcome, before, before, False, why=why)
        refusal = machine.refusal(before, request)
        predicted = refusal.outcome if refusal is not None else ""
        ways = machine.possible(before, request, outcome) if outcome else ()
        cell = ways[0] if ways else None
        after = cell.target if cell is not None else before
        told = cell.rule if cell is not None and outcome not in ACCEPTED else refusal
        why, source = (told.why, told.source) if told is not None else ("", "")
        if cell is None and outcome and refusal is None:
            why = f"no rule gives {outcome} here"
        return Exchange(
            request, begin, end, outcome, before, after, cell is not None or not outcome,
            predicted, why, source,
        )  # fmt: skip
