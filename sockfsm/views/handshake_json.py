"""How connections opened, what they carried and how they ended, as JSON.

Times in ns, sequence numbers absolute and relative.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sockfsm.trace.kernel_paths import KernelPaths, difference
from sockfsm.trace.tcp_path import walk
from sockfsm.views.handshake import Cause
from sockfsm.wire.findings import CLIENT, CLOSINGS, OPENINGS, Connection, Report, Segment


def json_lines(
    report: Report,
    problems: Iterable[str] = (),
    *,
    kernel: KernelPaths | None = None,
    causes: Mapping[Cause, str] | None = None,
) -> Iterator[str]:
    """The report as the lines of one JSON object, a line for each connection.

    kernel: its own states, where recorded. causes: the call behind a segment, where traced.
    """
    known = causes or {}

    def told(connection: Connection) -> dict[str, Any]:
        return {**_connection(connection, known), "kernel": _kernel(connection, kernel)}

    yield '{"connections": ['
    yield from _listed(report.connections, told)
    yield '], "conversations": ['
    yield from _listed(report.conversations, vars)
    yield f'], "problems": {json.dumps(list(problems))}}}'


def _listed(entries: tuple[Any, ...], form: Callable[[Any], dict[str, Any]]) -> Iterator[str]:
    last = len(entries) - 1
    for number, entry in enumerate(entries):
        yield json.dumps(form(entry)) + ("," if number < last else "")


def _connection(connection: Connection, causes: Mapping[Cause, str]) -> dict[str, Any]:
    opening, closing = connection.opening, connection.closing
    client, server, _ = walk(connection)

    def segments(listed: tuple[Segment, ...]) -> list[dict[str, Any]]:
        return [_segment(connection, segment, causes) for segment in listed]

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


def _segment(
    connection: Connection, segment: Segment, causes: Mapping[Cause, str]
) -> dict[str, Any]:
    here = connection.client if segment.sender == CLIENT else connection.server
    cause = causes.get((here, segment.flags, segment.seq))
    offered = segment.offered
    return {**vars(segment), "offered": offered and offered._asdict(), "cause": cause}


def _kernel(connection: Connection, kernel: KernelPaths | None) -> dict[str, Any] | None:
    """The kernel's states of both ends, and where those by the segments differ from them."""
    found = kernel.of(connection) if kernel is not None else ((), ())
    if not any(found):
        return None
    client, server = found
    return {"client": client, "server": server, "differs": difference(connection, found)}
