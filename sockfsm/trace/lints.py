"""Finds lints in a trace: mistakes that the kernel let through, and a few that it refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from sockfsm.events import Call, Endpoint, Site, Socket, Thread
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.lints import LINTS, Lint, enabled
from sockfsm.trace.directory import end_of

_PARTLY = ("send", "sendto", "sendmsg")
_STREAMS = ("tcp", "unix-stream")


class Finding(NamedTuple):
    """A lint and the call that it is about. made: where the call's socket was made."""

    lint: Lint
    call: Call
    made: Site | None = None

    def __str__(self) -> str:
        place = self.call.site or self.made
        site = f" at {place}" if place is not None else ""
        return f"{self.lint.name}: {self.lint.title}{site}; instead: {self.lint.instead}"


def find(calls: Iterable[Call], off: Iterable[str] = ()) -> Iterator[Finding]:
    """Yield the findings in `calls`, which must be in the order in which they ended.

    off: names of lints that are switched off. A call has at most one finding. A short send() is
    reported when the program's next call on the socket is not a send. UsageError for an unknown name.
    """
    on = enabled(off)
    short: dict[Socket, Call] = {}
    lives = _Lives()
    for call in calls:
        name = ""
        lives.add(call)
        if call.socket is not None:
            before = short.pop(call.socket, None)
            # A program that goes on sending may well send the rest.
            if before is not None and call.call != "send" and "short-send" in on:
                yield Finding(LINTS["short-send"], before)
            if _is_short(call):
                short[call.socket] = call
            name = _lint_of(call, call.socket)
            # Whoever holds the port in this very trace is no connection in TIME_WAIT.
            if name == "missing-reuseaddr" and lives.holds(call):
                continue
        # The end of a process is no call of the program's.
        elif call.call == "exit":
            continue
        if name in on:
            yield Finding(LINTS[name], call, lives.made.get(call.socket))
    if "short-send" in on:
        for call in short.values():
            yield Finding(LINTS["short-send"], call)


class _Lives:
    """Where the sockets were made, and the TCP ports that they hold."""

    def __init__(self) -> None:
        self.made: dict[Socket | None, Site | None] = {}
        self._accepts: dict[Thread, Site | None] = {}
        self._ports: dict[Socket, Endpoint] = {}

    def add(self, call: Call) -> None:
        socket = call.socket
        if socket is None or call.outcome != "ok":
            return
        if call.call == "accept":
            self._accepts[call.thread] = call.site
        if socket not in self.made:
            # The accept() returned just before the data socket has a record.
            self.made[socket] = call.site or self._accepts.get(call.thread)
        if call.call == "bind" and socket.kind == "tcp" and (end := end_of(call.address)):
            self._ports[socket] = end
        elif call.call in ("close", "exit"):
            self._ports.pop(socket, None)

    def holds(self, call: Call) -> bool:
        """Whether a socket of the trace has the port that a bind() asks for."""
        end = end_of(call.address)
        return end is not None and any(port == end[1] for _, port in self._ports.values())


def _is_short(call: Call) -> bool:
    return (
        call.method in _PARTLY
        and call.outcome == "ok"
        and call.socket is not None
        and call.socket.kind in _STREAMS
        and 0 <= call.done < call.asked
    )


def _lint_of(call: Call, socket: Socket) -> str:
    # No rule has this lint: whether SO_REUSEADDR would have helped depends on who holds the port.
    if call.call == "bind" and call.outcome == "EADDRINUSE" and socket.kind == "tcp":
        return "missing-reuseaddr"
    if call.refused and call.call in ("send", "recv") and call.before.startswith("LISTENING"):
        return "data-on-listener"
    name = _on_rule(socket.kind, call.before, call.call, call.outcome)
    # A data socket gets different advice.
    if name == "unclosed-at-exit" and socket.made_by == "accepted":
        return "unclosed-data-socket"
    return name


@lru_cache(4096)
def _on_rule(kind: str, state: str, call: str, outcome: str) -> str:
    if kind not in KINDS:
        return ""
    cell = flat_of(kind).cell(state, call, outcome)
    return cell.rule.lint if cell is not None else ""
