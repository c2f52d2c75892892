"""Writes a trace as JSON lines: an object for each process, socket and event, and a total."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sockfsm.events import Address, Call, Cause, Message, Packet, Site
from sockfsm.trace.stream import events
from sockfsm.trace.verdict import out_of_order
from sockfsm.views.incomplete import lacking
from sockfsm.views.lanes import Lanes
from sockfsm.views.selection import Selection
from sockfsm.views.timeline import zero_of
from sockfsm.views.totals import Totals

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource


def lines(trace: TraceSource, selection: Selection | None = None) -> Iterator[str]:
    """Yield the lines, without line ends.

    Times are in ns: `at` and `ended` since the trace began, `wall` since the epoch.
    The first key of each object is `type`: trace, process, socket, call, packet, message or total. A
    message is what a call moved through an AF_UNIX socket. A packet's `cause` has the fields of
    `sockfsm.events.Cause`.
    """
    for item in objects(trace, selection or Selection()):
        yield json.dumps(item, separators=(",", ":"))


def objects(trace: TraceSource, selection: Selection) -> Iterator[dict[str, Any]]:
    """Yield the same as dicts."""
    lanes = Lanes(trace, index=True)
    zero = zero_of(lanes.processes)
    yield {"type": "trace", "path": trace.name, "zero": zero}
    for process in lanes.processes:
        yield {
            "type": "process",
            "pid": process.pid,
            "parent": process.parent,
            "command": list(process.command),
            "at": process.started - zero,
            "ended": None if process.ended is None else process.ended - zero,
            "threads": {str(t.number): t.name for t in list(process.threads.values())},
        }
    for socket in lanes.sockets.values():
        yield {
            "type": "socket",
            "socket": socket.identity,
            "name": lanes.socket(socket),
            "kind": socket.kind,
            "made_by": socket.made_by,
            "parent": socket.parent,
            "local": _address(socket.local),
            "remote": _address(socket.remote),
        }
    totals = Totals()
    # Streamed: a trace may be larger than memory, so the totals come last.
    for time, _, event, *_ in events(trace):
        if not selection.takes(event, time, lanes, zero):
            continue
        if isinstance(event, Call):
            totals.add(event)
            yield _call(event, zero)
        elif isinstance(event, Packet):
            totals.add(event)
            yield _packet(event, zero)
        elif isinstance(event, Message):
            yield _message(event, zero)
    yield {
        "type": "total",
        "calls": totals.calls,
        "packets": totals.packets,
        "refused": totals.refused,
        "out_of_order": sum(totals.refusals.values()),
        "unexplained": totals.unexplained,
        "waits": totals.waits,
        "blocked": totals.blocked,
        "sent": totals.sent,
        "received": totals.received,
        "states": {identity: lanes.states.get(identity, "") for identity in totals.sockets},
        "problems": lacking(trace),
    }


def _call(call: Call, zero: int) -> dict[str, Any]:
    return {
        "type": "call",
        "at": call.begin - zero,
        "took": call.end - call.begin,
        "wall": call.wall,
        "pid": call.process.pid,
        "thread": call.thread.name,
        "socket": call.socket.identity if call.socket else None,
        "method": call.method,
        "call": call.call,
        "outcome": call.outcome,
        "errno": call.errno,
        "refused": call.refused,
        "out_of_order": out_of_order(call),
        "enforced": call.enforced,
        "asked": call.asked,
        "done": call.done,
        "address": _address(call.address),
        "before": call.before,
        "after": call.after,
        "waited": call.waited,
        "explained": call.explained,
        "predicted": call.predicted,
        "site": _site(call.site),
    }


def _message(message: Message, zero: int) -> dict[str, Any]:
    """What a send moved through an AF_UNIX socket; there is no packet."""
    receiver = message.receiver
    return {
        "type": "message",
        "at": message.call.begin - zero,
        "wall": message.call.wall,
        "length": message.length,
        "socket": message.socket.identity,
        "receiver": receiver.identity if receiver else None,
        "ends": _ended(message.ended, zero),
    }


def _packet(packet: Packet, zero: int) -> dict[str, Any]:
    seq, ack = packet.relative
    return {
        "type": "packet",
        "at": packet.time - zero,
        "wall": packet.wall,
        "protocol": packet.protocol,
        "source": list(packet.source),
        "target": list(packet.target),
        "flags": packet.flags,
        "seq": packet.seq,
        "ack": packet.ack,
        "relative_seq": seq,
        "relative_ack": ack,
        "window": packet.window,
        "length": packet.length,
        "socket": packet.socket.identity if packet.socket else None,
        "receiver": packet.receiver.identity if packet.receiver else None,
        "states": packet.states,
        "ignored": packet.ignored,
        "cause": _cause(packet.cause, zero),
        "ends": _ended(packet.ended, zero),
    }


def _cause(cause: Cause | None, zero: int) -> dict[str, Any] | None:
    if cause is None:
        return None
    calls = [{"method": c.method, "at": c.begin - zero, "site": _site(c.site)} for c in cause.calls]
    return {"who": cause.who, "why": cause.why, "calls": calls}


def _ended(call: Call | None, zero: int) -> dict[str, Any] | None:
    """The call whose wait was ended."""
    if call is None or call.socket is None:
        return None
    return {"method": call.method, "at": call.begin - zero, "socket": call.socket.identity}


def _address(value: Address | None) -> Any:
    if isinstance(value, bytes):
        # A path may hold any bytes; `os.fsencode` gives them back.
        return value.decode("utf-8", "surrogateescape")
    return list(value) if isinstance(value, tuple) else value


def _site(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else site._asdict()
