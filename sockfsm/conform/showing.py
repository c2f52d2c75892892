"""The form of a showing: a kind, a stage, and the script of what is shown on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sockfsm.conform.bench import Bench


@dataclass(frozen=True)
class Showing:
    """What a stage shows: "connect EINPROGRESS peer=silent; so_error ETIMEDOUT peer=lost".

    Between the calls a directed stage may be told to act: "!peer_ends". birth: the call that has made
    the socket; '' where the script begins before that.
    alone: in a network namespace of its own, which takes root.
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
