"""Enforce: a call that the machine refuses raises `IllegalCall` before the kernel is touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache
from sys import _getframe
from typing import TYPE_CHECKING, Any

from sockfsm.record.layout import ENFORCED, METHODS, NUMBER
from sockfsm.tracer.calls import SHUTDOWN
from sockfsm.tracer.recorder import clock, log, me, site_of
from sockfsm.tracer.rows import Tracked, head
from sockfsm.tracer.sockets import tracked_by

if TYPE_CHECKING:
    from sockfsm.trace.events import Call

Method = Callable[..., Any]

_GUARDED = {
    name: NUMBER[name]
    for name in (
        "bind",
        "listen",
        "accept",
        "connect",
        "connect_ex",
        "send",
        "sendall",
        "sendto",
        "sendmsg",
        "recv",
        "recv_into",
        "recvfrom",
        "recvfrom_into",
        "recvmsg",
        "recvmsg_into",
    )
}


class IllegalCall(OSError):  # noqa: N818 - it is named for what happened, like BrokenPipe
    """A call that the machine refuses in the socket's state. The kernel was not asked.

    `errno` is the one that the kernel would give, and the instance also is of the subclass of OSError
    for it (BrokenPipeError, ...), so that handlers written for the kernel fit.
    machine: the kind. state, call: where and what. legal: the calls that are legal there.
    history: the socket's calls so far (`trace.events.Call`), each with its file:line.
    """

    machine: str
    state: str
    call: str
    legal: tuple[str, ...]
    history: tuple[Call, ...]


@cache
def _class_for(number: int) -> type[IllegalCall]:
    native = type(OSError(number, ""))
    if native is OSError:
        return IllegalCall
    return type("IllegalCall", (IllegalCall, native), {"__module__": __name__})


def illegal(tracked: Tracked, method: int, refusal: str, history: tuple[Call, ...]) -> IllegalCall:
    """The exception for `method` on this socket, with the words that teach."""
    from sockfsm.model.teach import meant

    row = tracked.row
    call = METHODS[method][1]
    compiled = row.kind.compiled
    assert compiled is not None
    legal = compiled.legal(row.state)
    rule = row.rule(method)
    number = getattr(errno, refusal)
    why = rule.why if rule is not None else "this stricter machine has no such transition."
    lines = [
        f"{METHODS[method][0]}() is illegal in state {row.state} ({row.kind.name}): "
        f"{os.strerror(number)}. {why}",
        f"  Legal here: {', '.join(legal) or 'nothing'}.",
    ]
    usual = meant(row.kind.name, row.state, call, refusal)
    if usual:
        lines.append(f"  Usually meant: {usual}")
    if history:
        lines.append("  How the socket got here:")
        lines += [_line(entry) for entry in history if entry.moved][-8:]
    error = _class_for(number)(number, "\n".join(lines))
    error.machine, error.state, error.call = row.kind.name, row.state, call
    error.legal, error.history = legal, history
    return error


def _line(call: Call) -> str:
    return f"    {call.before} -> {call.after} by {call.method}() at {call.site}"


def guarded(name: str, method: Method, history: Callable[[int], tuple[Call, ...]]) -> Method:
    """`method`, asked for only when the machine takes the call."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tracked = tracked_by(self)
        number = SHUTDOWN.get(args[0], 0) if name == "shutdown" and args else _GUARDED.get(name, 0)
        refusal = tracked.row.refusal(number) if number else ""
        if refusal:
            row, now = tracked.row, clock()
            site = site_of(_getframe(1))
            bits = head(row, row, number, refusal) | ENFORCED
            log.write(now, now, bits, tracked.number, site, me.number, 0, 0)
            raise illegal(tracked, number, refusal, history(tracked.number))
        return method(self, *args, **kwargs)

    call.__name__, call.__qualname__ = method.__name__, method.__qualname__
    call.__doc__ = method.__doc__
    return call


def enforced(
    methods: dict[str, Method], history: Callable[[int], tuple[Call, ...]]
) -> dict[str, Method]:
    """The traced methods, those that can be refused behind a guard."""
    return {
        name: guarded(name, method, history) if name in _GUARDED or name == "shutdown" else method
        for name, method in methods.items()
    }
