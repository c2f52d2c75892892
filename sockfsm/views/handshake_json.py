"""Writes how connections opened, what they carried and how they ended, as JSON.

Times are in ns. Sequence numbers are given as on the wire, and relative to each side's first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.tcp_path import walk
from sockfsm.views.handshake import calls_behind
from sockfsm.wire.findings import CLOSINGS, OPENINGS, Connection, Report, Segment


def json_lines(
    report: Report,
    problems: Iterable[str] = (),
    *,
    kernel: KernelPaths | None = None,
) -> Iterator[str]:
    """Yield the report as the lines of one JSON object, one line for each connection.

    problems: the value of the key `problems`. kernel: the kernel's own states, where recorded.
    """

    def with_kernel(connection: Connection) -> dict[str, Any]:
        return {**_connection(connection), "kernel": _kernel(connection, kernel)}

    yield '{"connections": ['
    yield from _listed(report.connections, with_kernel)
    yield '], "conversations": ['
    yield from _listed(report.conversations, vars)
    yield f'], "problems": {json.dumps(list(problems))}}}'


def _listed(entries: tuple[Any, ...], form: Callable[[Any], dict[str, Any]]) -> Iterator[str]:
    last = len(entries) - 1
    for number, entry in enumerate(entries):
        yield json.dumps(form(entry)) + ("," if number < last else "")


def _connection(connection: Connection) -> dict[str, Any]:
    opening, closing = connection.opening, connection.closing
    client, server, _ = walk(connection)

    def segments(listed: tuple[Segment, ...]) -> list[dict[str, Any]]:
        return [_segment(segment) for segment in listed]

    return {
        **vars(connection),
        "opening": {
            **vars(opening),
            "meaning": OPENINGS[opening.kind],
            "segments": segments(opening.segments),
        },
        "sent": vars(connection.sent),
        "received": vars(connection.received),
        "closing": {
            **vars(closing),
            "meaning": CLOSINGS[closing.kind],
            "segments": segments(closing.segments),
        },
        "ignored": segments(connection.ignored),
        "states": {"client": client, "server": server},
    }


def _segment(segment: Segment) -> dict[str, Any]:
    offered = segment.offered
    entries = {**vars(segment), "offered": offered and offered._asdict()}
    del entries["packet"]
    return {**entries, "cause": calls_behind(segment) or None}


def _kernel(connection: Connection, kernel: KernelPaths | None) -> dict[str, Any] | None:
    """The kernel's states of both ends, and how those by the segments differ from them."""
    states = kernel.of(connection) if kernel is not None else ((), ())
    if not any(states):
        return None
    client, server = states
    return {"client": client, "server": server, "differs": difference(connection, states)}
