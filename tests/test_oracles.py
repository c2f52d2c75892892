"""The model beside sources that nobody here wrote, and beside a matrix that others measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sockfsm.conform.expect import expected
from sockfsm.conform.oracles import FACTS, GVISOR, LTP, MAN, Fact
from sockfsm.model.predict import Predictor

MATRIX = Path(__file__).parent / "data" / "wrong-state-errnos-linux-6.18.txt"
KIND = {
    ("AF_INET", "SOCK_STREAM"): "tcp",
    ("AF_INET6", "SOCK_STREAM"): "tcp",
    ("AF_INET", "SOCK_DGRAM"): "udp",
    ("AF_INET6", "SOCK_DGRAM"): "udp",
    ("AF_UNIX", "SOCK_STREAM"): "unix-stream",
    ("AF_UNIX", "SOCK_DGRAM"): "unix-dgram",
}
BLOCKING = {"mode": "blocking"}
# How a row of the matrix is reached: environment and calls.
ROWS: dict[str, tuple[dict[str, str], str]] = {
    "NEW": ({}, ""),
    "BOUND": ({}, "bind"),
    "LISTENING": ({}, "bind listen"),
    "CONNECTED": (BLOCKING, "connect"),
    "SHUT_RD": (BLOCKING, "connect shutdown_rd"),
    "SHUT_WR": (BLOCKING, "connect shutdown_wr"),
    "SHUT_RDWR": (BLOCKING, "connect shutdown_rdwr"),
    "CLOSED": ({}, "close"),
}
OWN_ROWS: dict[tuple[str, str], tuple[dict[str, str], str, dict[str, str]]] = {
    ("tcp", "PEER_CLOSED"): ({**BLOCKING, "peer": "closes"}, "connect", {"peer": "closes"}),
    ("tcp", "REFUSED"): ({**BLOCKING, "peer": "refuses"}, "connect", {}),
    # The peers of datagrams in the matrix: the ICMP error was read; another peer took the name.
    ("udp", "PEER_CLOSED"): ({}, "connect", {}),
    ("udp", "REFUSED"): ({}, "connect", {}),
    ("unix-stream", "PEER_CLOSED"): ({"peer": "closes"}, "connect", {"peer": "closes"}),
    ("unix-stream", "REFUSED"): ({"target": "dead"}, "connect", {}),
    # Their connected UNIX datagram sockets had a path, so that the peer could answer.
    ("unix-dgram", "CONNECTED"): ({}, "bind connect", {}),
    ("unix-dgram", "SHUT_RD"): ({}, "bind connect shutdown_rd", {}),
    ("unix-dgram", "SHUT_WR"): ({}, "bind connect shutdown_wr", {}),
    ("unix-dgram", "SHUT_RDWR"): ({}, "bind connect shutdown_rdwr", {}),
    ("unix-dgram", "PEER_CLOSED"): ({}, "bind connect", {"peer": "dead"}),
    ("unix-dgram", "REFUSED"): ({}, "connect", {}),
}
CALLS = {
    "shut_rd": "shutdown_rd",
    "shut_wr": "shutdown_wr",
    "unspec": "disconnect",
    "sendto": "send",
}


def cells() -> Iterator[tuple[str, str, str, str, str]]:
    """(family, kind, row, column, outcome) for each cell of the matrix."""
    family, kind, columns = "", "", []
    for line in MATRIX.read_text().splitlines():
        words = line.split()
        if line.startswith("###"):
            family, kind = words[1], KIND[words[1], words[2]]
        elif words and words[0] == "state":
            columns = words[1:]
        elif words and not line.startswith("#"):
            for column, outcome in zip(columns, words[1:], strict=True):
                if outcome != "n/a":
                    yield family, kind, words[0], column, outcome.replace("ENOTSUP", "EOPNOTSUPP")


def predicted(kind: str, row: str, column: str) -> str:
    if (kind, row) in OWN_ROWS:
        given, calls, then = OWN_ROWS[kind, row]
    else:
        (given, calls), then = ROWS[row], {}
    before = Predictor(kind, given)
    node = before.created
    for call in calls.split():
        node = before.step(node, call)[1]
    if column == "getpeername":
        if node.name.startswith("CLOSED"):
            return "EBADF"
        return "ok" if True in expected(before.table, node.parts)["connected"] else "ENOTCONN"
    facts = dict(then)
    if column == "connect":
        facts = dict(BLOCKING)
    if column == "sendto" and kind != "tcp":
        facts = {"to": "address"}
    asked = Predictor(kind, facts)
    outcome, _, _ = asked.step(asked.origin((), node.name), CALLS.get(column, column))
    if outcome == "eof":
        return "ok:b''"
    return "ok:1" if outcome == "ok" and column in ("send", "sendto") else outcome


def test_the_measured_matrix_agrees_cell_by_cell() -> None:
    count, differences = 0, []
    for family, kind, row, column, outcome in cells():
        count += 1
        said = predicted(kind, row, column)
        if said != outcome:
            differences.append((family, kind, row, column, outcome, said))
    assert count > 600
    assert differences == []


@pytest.mark.parametrize("fact", FACTS, ids=lambda f: f"{f.place} / {f.kind}")
def test_what_others_expect(fact: Fact) -> None:
    assert fact.agrees != bool(fact.differs), fact.model


def test_there_are_three_sources() -> None:
    assert {fact.source for fact in FACTS} == {LTP, GVISOR, MAN}
