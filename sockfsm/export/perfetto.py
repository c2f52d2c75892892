"""Writes a trace as Chrome trace JSON, which ui.perfetto.dev and chrome://tracing open.

The calls of a thread are slices, the states of a socket are asynchronous slices. Packets are instants,
each with an arrow from the call that caused it. Source: the Trace Event Format document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sockfsm.events import Call, Packet
from sockfsm.trace.source import TraceSource
from sockfsm.trace.stream import events
from sockfsm.views.incomplete import incomplete, lacking
from sockfsm.views.lanes import Lanes
from sockfsm.views.phrases import answered, caused, flags, place, spoken
from sockfsm.views.text import address
from sockfsm.views.timeline import zero_of

WIRE = 0  # the pid that packets get; no process has it


def lines(trace: TraceSource) -> Iterator[str]:
    """Yield the lines of one JSON object."""
    yield '{"displayTimeUnit": "ns", "traceEvents": ['
    before = ""
    for event in _events(trace):
        if before:
            yield before + ","
        before = json.dumps(event)
    yield before
    yield f'], "otherData": {json.dumps({"problems": lacking(trace)})}}}'


def _events(trace: TraceSource) -> Iterator[dict[str, Any]]:
    lanes = Lanes(trace, index=True)
    zero = zero_of(lanes.processes)
    yield _named("process_name", WIRE, 0, "packets")
    for process in lanes.processes:
        command = " ".join(process.command)
        yield _named("process_name", process.pid, 0, f"{lanes.process(process)} {command}")
        for thread in lanes.threads_of(process):
            yield _named("thread_name", process.pid, thread.ident, thread.name)
    states: dict[str, str] = {}
    last = zero
    number = 0
    for _, _, event, *_ in events(trace):
        if isinstance(event, Call):
            last = max(last, event.end)
            yield _call(event, lanes, zero)
            yield from _state(event, lanes, states, zero)
        elif isinstance(event, Packet):
            number += 1
            yield from _packet(event, lanes, zero, number)
            if event.ended is not None:
                yield from _ended(event, event.ended, zero, number)
    for identity, state in states.items():
        yield {**_slice(identity, state, lanes), "ph": "e", "ts": (last - zero) / 1000}
    for line in incomplete(trace):
        yield {"ph": "i", "s": "g", "cat": "lost", "name": line, "pid": WIRE, "tid": 0, "ts": 0}


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _call(call: Call, lanes: Lanes, zero: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": "call" + (",refused" if call.refused else "") + (",wait" if call.waited else ""),
        "name": f"{lanes.socket(call.socket)} {spoken(call)}",
        "pid": call.process.pid,
        "tid": call.thread.ident,
        "ts": (call.begin - zero) / 1000,
        "dur": (call.end - call.begin) / 1000,
        "args": {
            "outcome": answered(call),
            "before": call.before,
            "after": call.after,
            "waited": call.waited,
            "explained": call.explained,
            "at": str(call.site) if call.site else "",
        },
    }


def _state(call: Call, lanes: Lanes, states: dict[str, str], zero: int) -> Iterator[dict[str, Any]]:
    """Yield the end of the slice of the old state, and the begin of the new one's."""
    if call.socket is None:
        return
    identity = call.socket.identity
    known = states.get(identity)
    if known == call.after:
        return
    time = (call.end - zero) / 1000
    if known is not None:
        yield {**_slice(identity, known, lanes), "ph": "e", "ts": time}
    yield {**_slice(identity, call.after, lanes), "ph": "b", "ts": time}
    states[identity] = call.after


def _slice(identity: str, state: str, lanes: Lanes) -> dict[str, Any]:
    pid = int(identity.partition(".")[0].partition("-")[0])
    name = lanes.name_of(identity)
    return {"cat": f"socket {name}", "name": state, "id": identity, "pid": pid, "tid": 0}


def _packet(packet: Packet, lanes: Lanes, zero: int, number: int) -> Iterator[dict[str, Any]]:
    time = (packet.time - zero) / 1000
    source, target = lanes.socket(packet.socket), lanes.socket(packet.receiver)
    yield {
        "ph": "i",
        "s": "t",
        "cat": "packet",
        "name": f"{source} > {target} {flags(packet)} {packet.length} B",
        "pid": WIRE,
        "tid": 0,
        "ts": time,
        "args": {
            "source": address(packet.source),
            "target": address(packet.target),
            "seq": packet.seq,
            "ack": packet.ack,
            "window": packet.window,
            "cause": f"{spoken(packet.call)} {place(packet.call.site, 60)}"
            if packet.call
            else caused(packet),
        },
    }
    call = packet.call
    if call is not None:
        flow = {"cat": "cause", "name": "sends", "id": number}
        who = {"pid": call.process.pid, "tid": call.thread.ident}
        yield {"ph": "s", **flow, **who, "ts": (max(call.begin, zero) - zero) / 1000}
        yield {"ph": "f", "bp": "e", **flow, "pid": WIRE, "tid": 0, "ts": time}


def _ended(packet: Packet, call: Call, zero: int, number: int) -> Iterator[dict[str, Any]]:
    """Yield the arrow from a packet to the end of the call that had waited for it."""
    flow = {"cat": "wake", "name": "ends the wait", "id": f"w{number}"}
    yield {"ph": "s", **flow, "pid": WIRE, "tid": 0, "ts": (packet.time - zero) / 1000}
    who = {"pid": call.process.pid, "tid": call.thread.ident}
    time = max(call.end - 1, call.begin, packet.time)
    yield {"ph": "f", "bp": "e", **flow, **who, "ts": (time - zero) / 1000}
