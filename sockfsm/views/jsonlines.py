"""A trace as JSON lines: one object per process, socket, event, and one total. Streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sockfsm.trace.events import Address, Call, Cause, Packet, Site, Socket
from sockfsm.trace.unix_wire import sends
from sockfsm.trace.verdict import out_of_order
from sockfsm.views.incomplete import lacking
from sockfsm.views.lanes import Lanes
from sockfsm.views.order import ordered
from sockfsm.views.selection import Selection
from sockfsm.views.tally import Tally
from sockfsm.views.timeline import zero_of

if TYPE_CHECKING:
    from sockfsm.trace.trace import Trace


def lines(trace: Trace, selection: Selection | None = None) -> Iterator[str]:
    """The lines, without their ends. Times are ns: `at` since the trace's start, `wall` since 1970.

    The first key of each object is `type`: trace, process, socket, call, packet, message (of AF_UNIX
    sockets, from the calls of both ends) or total. A packet's cause: who (call, kernel, unknown), why,
    and the calls.
    """
    for item in objects(trace, selection or Selection()):
        yield json.dumps(item, separators=(",", ":"))


def objects(trace: Trace, selection: Selection) -> Iterator[dict[str, Any]]:
    """The same as dicts."""
    lanes = Lanes(trace, index=True)
    told = trace.summary(index=True)
    waker, peers = told.waker(), told.peers
    zero = zero_of(lanes.processes)
    yield {"type": "trace", "path": str(trace.path) if trace.path else None, "zero": zero}
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
    tally = Tally()
    for event in ordered(trace.calls(), trace.packets()):
        woken = waker.ends(event)
        if selection.takes(event, lanes, zero):
            tally.add(event)
            yield _packet(event, zero, woken) if isinstance(event, Packet) else _call(event, zero)
        if isinstance(event, Call) and sends(event):
            receiver = peers.receiver(event)
            if selection.takes(event, lanes, zero, receiver):
                yield _message(event, receiver, zero, woken)
    yield {
        "type": "total",
        "calls": tally.calls,
        "packets": tally.packets,
        "refused": tally.refused,
        "out_of_order": sum(tally.refusals.values()),
        "unexplained": tally.unexplained,
        "waits": tally.waits,
        "blocked": tally.blocked,
        "sent": tally.sent,
        "received": tally.received,
        "states": {identity: lanes.states.get(identity, "") for identity in tally.sockets},
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


def _message(call: Call, receiver: Socket | None, zero: int, woken: Call | None) -> dict[str, Any]:
    """What an AF_UNIX send moved, from the calls of both ends: there is no packet."""
    return {
        "type": "message",
        "at": call.begin - zero,
        "wall": call.wall,
        "length": call.done,
        "socket": call.socket.identity if call.socket else None,
        "receiver": receiver.identity if receiver else None,
        "ends": _ended(woken, zero),
    }


def _packet(packet: Packet, zero: int, woken: Call | None) -> dict[str, Any]:
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
        "window": packet.window,
        "length": packet.length,
        "socket": packet.socket.identity if packet.socket else None,
        "cause": _cause(packet.cause, zero),
        "ends": _ended(woken, zero),
    }


def _cause(cause: Cause | None, zero: int) -> dict[str, Any] | None:
    if cause is None:
        return None
    calls = [{"method": c.method, "at": c.begin - zero, "site": _site(c.site)} for c in cause.calls]
    return {"who": cause.who, "why": cause.why, "calls": calls}


def _ended(woken: Call | None, zero: int) -> dict[str, Any] | None:
    """The call whose wait ended."""
    if woken is None or woken.socket is None:
        return None
    at = woken.begin - zero
    return {"method": woken.method, "at": at, "socket": woken.socket.identity}


def _address(value: Address | None) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return list(value) if isinstance(value, tuple) else value


def _site(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else site._asdict()
