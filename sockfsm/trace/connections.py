"""Corrects a report on packets by what the calls of the trace know.

The kernel completes handshakes on its own while a socket listens, so only the calls say that no
`accept` took a connection. And where packets leave two reasons for a reset, the calls say whether
data was left unread.
"""

from __future__ import annotations

from dataclasses import replace

from sockfsm.trace.directory import Directory
from sockfsm.wire.findings import SERVER, Closing, Connection, Report


def with_calls(report: Report, directory: Directory) -> Report:
    """The report with openings and resets explained by the calls."""
    connections = tuple(_judged(connection, directory) for connection in report.connections)
    return replace(report, connections=connections)


def _judged(connection: Connection, directory: Directory) -> Connection:
    # Only a complete handshake can wait in an accept queue.
    if connection.opening.kind != "normal":
        return connection
    opening, closing = connection.opening, connection.closing
    if _not_accepted(connection, directory):
        opening = replace(opening, kind="not accepted")
        if closing.reset_by == SERVER:
            closing = replace(closing, reset_cause="the listening socket was closed before accept")
    elif "SO_LINGER" in closing.reset_cause:
        closing = _reset(connection, closing, directory)
    return replace(connection, opening=opening, closing=closing)


def _not_accepted(connection: Connection, directory: Directory) -> bool:
    """Whether a traced socket listened for the connection, and no traced `accept` returned it."""
    client, server, begin = connection.client, connection.server, connection.begin
    listening = directory.named("tcp", server, begin) is not None
    return listening and not directory.was_accepted(server, client, begin)


def _reset(connection: Connection, closing: Closing, directory: Directory) -> Closing:
    """Why an end sent RST, judged by how much of the data it had read."""
    near, far, came = connection.client, connection.server, connection.received
    if closing.reset_by == SERVER:
        near, far, came = far, near, connection.sent
    socket = directory.owner("tcp", near, far, connection.begin, opens=True)
    if socket is None:
        return closing
    # Linux answers unread data with RST at close, so the reset has a reason other than SO_LINGER.
    unread = came.bytes - directory.causes[socket.identity].read
    how = "closed" if directory.closed(socket) else "its process ended"
    if unread > 0:
        cause = f"{how} with {unread} received bytes unread"
    else:
        cause = f"{how} with SO_LINGER 0: nothing was left unread"
    return replace(closing, reset_cause=cause)
