"""Enforce: a call that the machine refuses raises `IllegalCall` before the kernel is touched."""

from __future__ import annotations

import _socket
import os
import socket as _stdlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sockfsm.model.errnos import errno_number
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import ENFORCED, METHODS, NUMBER
from sockfsm.tracer.buffers import all_octets, integer, octets
from sockfsm.tracer.calls import SHUTDOWN
from sockfsm.tracer.elsewhere import shared
from sockfsm.tracer.flags import flags_of
from sockfsm.tracer.likeness import like
from sockfsm.tracer.places import caller
from sockfsm.tracer.rows import Row, Tracked, head
from sockfsm.tracer.sockets import is_socket, tracked_by
from sockfsm.tracer.witness import shows

if TYPE_CHECKING:
    from sockfsm.events import Call

Method = Callable[..., Any]
_fileno = _socket.socket.fileno
_PLAIN = _stdlib.MSG_DONTWAIT | _stdlib.MSG_NOSIGNAL | _stdlib.MSG_PEEK | _stdlib.MSG_WAITALL
"""Flags with which the kernel refuses as it does without them."""
_SMALL = 2048
"""So many bytes fit into any datagram, and any buffer."""

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


def illegal(row: Row, method: int, refusal: str, history: tuple[Call, ...]) -> IllegalCall:
    """The exception for `method` on this socket, with the words that teach."""
    from sockfsm.model.teach import meant

    call = METHODS[method][1]
    compiled = row.kind.compiled
    assert compiled is not None
    legal = compiled.legal(row.state)
    rule = row.rule(method)
    number = errno_number(refusal)
    why = rule.why if rule is not None else "this stricter machine has no such transition."
    lines = [
        f"{_called(METHODS[method][0])} is illegal in state {row.state} ({row.kind.name}): "
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


def _called(method: str) -> str:
    return method if method.endswith(")") else f"{method}()"  # `shutdown(SHUT_WR)` is one


def _line(call: Call) -> str:
    return f"    {call.before} -> {call.after} by {_called(call.method)} at {call.site}"


def guarded(name: str, method: Method, history: Callable[[int], tuple[Call, ...]]) -> Method:
    """`method`, which runs only if the machine allows it.

    A call that the kernel would take is never stopped. Unless the kernel shows that it would refuse,
    the call is made, and a refusal is then explained in the same words.
    """

    def call(self: Any, *args: Any, **named: Any) -> Any:
        tracked = tracked_by(self) if is_socket(self) else None
        number = SHUTDOWN.get(integer(args[0]), 0) if args and name == "shutdown" else _of(name)
        row = tracked.row if tracked is not None else None
        refusal = row.refusal(number) if row is not None and number else ""
        if tracked is None or row is None or not refusal:
            return method(self, *args, **named)
        if _unsure(name, number, args, named) or not _certain(self, tracked, number, refusal):
            try:
                return method(self, *args, **named)
            except OSError as error:
                if error.errno != errno_number(refusal):
                    raise
            raise illegal(row, number, refusal, history(tracked.model.number))
        session, now = tracked.session, Clocks.monotonic()
        site, thread = session.places.site_of(caller()), session.me.number
        bits = head(row, row, number, refusal) | ENFORCED
        session.log.write(now, now, bits, tracked.model.number, site, thread, 0, 0)
        if name == "connect_ex":
            return errno_number(refusal)  # it tells errors by its result
        raise illegal(row, number, refusal, history(tracked.model.number))

    return like(call, method)


def _unsure(name: str, number: int, args: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether the call's own arguments may give it another answer."""
    if flags_of(number, args, named) & ~_PLAIN or _for_nothing(name, args):
        return True
    if not name.startswith("send") or not args:
        return False
    size = all_octets(args[0]) if name == "sendmsg" else octets(args[0])
    return not 0 <= size <= _SMALL


def _for_nothing(name: str, args: tuple[Any, ...]) -> bool:
    """Whether no byte is asked for: Python answers recv(0) itself, even where the socket is closed."""
    if name == "recv":
        return bool(args) and integer(args[0]) == 0
    return name == "recv_into" and bool(args) and octets(args[0]) == 0


def _of(name: str) -> int:
    return _GUARDED.get(name, 0)


def _certain(sock: Any, tracked: Tracked, number: int, refusal: str) -> bool:
    """Whether the call would be refused, so and not otherwise: by the user's own stricter machine, or
    as the kernel shows.

    Of a socket that others may have changed the kernel itself judges.
    """
    if refusal == "EPERM" or _fileno(sock) < 0:
        return True
    row = tracked.row
    settled = not shared(tracked.session, tracked.model) and row.settled(number)
    return settled and shows(sock, row.state, number, refusal)


def enforced(
    methods: dict[str, Method], history: Callable[[int], tuple[Call, ...]]
) -> dict[str, Method]:
    """The traced methods, those that can be refused behind a guard."""
    # What explains a refusal, loaded now: later it may be out of reach.
    import_module("sockfsm.model.teach")
    for kind in KINDS:
        flat_of(kind)
    return {
        name: guarded(name, method, history) if name in _GUARDED or name == "shutdown" else method
        for name, method in methods.items()
    }
