"""Finds lints in a trace: mistakes that the kernel let through, and a few that it refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from sockfsm.events import Call, Socket
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.lints import LINTS, Lint, enabled

_PARTLY = ("send", "sendto", "sendmsg")
_STREAMS = ("tcp", "unix-stream")


class Finding(NamedTuple):
    """A lint and the call that it is about."""

    lint: Lint
    call: Call

    def __str__(self) -> str:
        site = f" at {self.call.site}" if self.call.site is not None else ""
        return f"{self.lint.name}: {self.lint.title}{site}; instead: {self.lint.instead}"


def find(calls: Iterable[Call], off: Iterable[str] = ()) -> Iterator[Finding]:
    """Yield the findings in `calls`, which must be in the order in which they ended.

    off: names of lints that are switched off. A call has at most one finding. A short send() is
    reported when the program's next call on the socket is not a send. UsageError for an unknown name.
    """
    on = enabled(off)
    short: dict[Socket, Call] = {}
    for call in calls:
        name = ""
        if call.socket is not None:
            before = short.pop(call.socket, None)
            # A program that goes on sending may well send the rest.
            if before is not None and call.call != "send" and "short-send" in on:
                yield Finding(LINTS["short-send"], before)
            if _is_short(call):
                short[call.socket] = call
            name = _lint_of(call, call.socket)
        # The end of a process is no call of the program's.
        elif call.call == "exit":
            continue
        if name in on:
            yield Finding(LINTS[name], call)
    if "short-send" in on:
        for call in short.values():
            yield Finding(LINTS["short-send"], call)


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
