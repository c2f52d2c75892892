"""A showing: a kind, a stage, and the script that runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sockfsm.conform.bench import Bench


@dataclass(frozen=True)
class Showing:
    """What a stage shows: "connect EINPROGRESS peer=silent; so_error ETIMEDOUT peer=lost".

    Between the calls of a directed stage there may be acts: "!peer_ends". birth: the call that made the
    socket; '' if the script makes it. alone: needs a network namespace of its own, and so root.
    """

    kind: str
    name: str
    stage: type[Bench]
    script: str
    birth: str = "create"
    alone: bool = False

    @property
    def title(self) -> str:
        """`tcp: the peer is lost`."""
        return f"{self.kind}: {self.name}"

    @property
    def lines(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """(call, outcome, facts) of each call, (`!act`, '', {}) of each act."""
        for text in self.script.split(";"):
            call, outcome, *facts = [*text.split(), ""]
            yield call, outcome, dict(fact.split("=") for fact in facts if fact)

    @property
    def steps(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """(call, outcome, facts) of each call."""
        return (line for line in self.lines if not line[0].startswith("!"))
