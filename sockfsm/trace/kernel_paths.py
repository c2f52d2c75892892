"""Compares the kernel's own TCP states of a connection with those that its segments imply."""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm import tcp_names as tcp
from sockfsm.events import Endpoint
from sockfsm.trace.tcp_path import paths
from sockfsm.wire.findings import Connection
from sockfsm.wire.kernel_states import KernelState, lives, with_ports

# A connection's first and last state may be this far (ns) from its first and last packet.
_STATE_SLACK = 1_000_000_000


class KernelPaths:
    """All recorded changes of state, looked up by connection."""

    def __init__(self, states: Iterable[KernelState]) -> None:
        self._lives: dict[tuple[int, int], list[list[KernelState]]] = {}
        for life in lives(with_ports(states)):
            # By ports alone: the kernel's event has no hosts for IPv6.
            self._lives.setdefault((life[0].source[1], life[0].target[1]), []).append(life)

    def of(self, connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The states that (client, server) went through; empty for an end that was not recorded."""
        return self._end(connection, connection.client, connection.server), self._end(
            connection, connection.server, connection.client
        )

    def _end(self, connection: Connection, near: Endpoint, far: Endpoint) -> tuple[str, ...]:
        lives = [
            life
            for life in self._lives.get((near[1], far[1]), ())
            if life[0].time - _STATE_SLACK <= connection.end
            and connection.begin <= life[-1].time + _STATE_SLACK
        ]
        if not lives:
            return ()
        # After a reset the same ports can be used again at once.
        life = min(lives, key=lambda life: abs(life[0].time - connection.begin))
        # On close() in FIN-WAIT-2 or CLOSING the kernel reports that state a second time.
        return (life[0].before, *(s.after for s in life if s.before != s.after))


def difference(connection: Connection, kernel: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    """Where the kernel's states differ from those by the segments; '' where they agree.

    CLOSED by the kernel and TIME-WAIT by the segments count as equal: the kernel keeps TIME_WAIT in a
    smaller socket, which its event does not cover. An end without a record is not compared.
    """
    differences = []
    for who, ours, theirs in zip(("client", "server"), paths(connection), kernel, strict=True):
        expected = tuple(tcp.CLOSED if state == tcp.TIME_WAIT else state for state in ours)
        if not theirs or theirs == expected:
            continue
        if theirs == (*expected, tcp.CLOSED):
            differences.append(
                f"{who}: gave up without a segment; by the segments it is {ours[-1]}"
            )
        else:
            differences.append(f"{who}: by the segments {' > '.join(ours)}")
    return "; ".join(differences)
