"""The kernel's own TCP states of a connection, beside those that its segments imply."""

from __future__ import annotations

from collections.abc import Iterable

from sockfsm.trace.tcp_path import paths
from sockfsm.wire.findings import Connection
from sockfsm.wire.kernel_states import KernelState, lives, with_ports

End = tuple[str, int]
SLACK = 1_000_000_000  # connect may have begun, and the last state may come, that much apart (ns)


class KernelPaths:
    """All recorded changes, to be asked for a connection's two ends."""

    def __init__(self, states: Iterable[KernelState]) -> None:
        self._lives: dict[tuple[int, int], list[list[KernelState]]] = {}
        for life in lives(with_ports(states)):
            self._lives.setdefault((life[0].source[1], life[0].target[1]), []).append(life)

    def of(self, connection: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The states that (client, server) went through; empty for an end that was not seen."""
        return self._end(connection, connection.client, connection.server), self._end(
            connection, connection.server, connection.client
        )

    def _end(self, connection: Connection, near: End, far: End) -> tuple[str, ...]:
        lives = [
            life
            for life in self._lives.get((near[1], far[1]), ())
            if life[0].time - SLACK <= connection.end and connection.begin <= life[-1].time + SLACK
        ]
        if not lives:
            return ()
        # After a reset the same ports can be used again at once.
        life = min(lives, key=lambda life: abs(life[0].time - connection.begin))
        # close() in FIN-WAIT-2 or CLOSING tells that state once more.
        return (life[0].before, *(s.after for s in life if s.before != s.after))


def difference(connection: Connection, kernel: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    """Where the kernel's states and those by the segments disagree, and why; '' where they agree.

    CLOSED of the kernel and TIME-WAIT by the segments are the same: the kernel's event does not
    tell of TIME_WAIT. An end that the kernel's record does not have is not compared.
    """
    said = []
    for who, ours, theirs in zip(("client", "server"), paths(connection), kernel, strict=True):
        expected = tuple("CLOSED" if state == "TIME-WAIT" else state for state in ours)
        if not theirs or theirs == expected:
            continue
        if theirs == (*expected, "CLOSED"):
            said.append(f"{who}: gave up without a segment; by the segments it is {ours[-1]}")
        else:
            said.append(f"{who}: by the segments {' > '.join(ours)}")
    return "; ".join(said)
