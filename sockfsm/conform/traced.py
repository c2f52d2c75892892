"""Compares the tracer with the running kernel, after each call on a bench's sockets.

The states that the tracer considers possible must be those that the machine derives from the same
outcomes. The trace must explain every call, those of the peers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from socket import socket

from sockfsm.conform.enforced import Judge, enforcing
from sockfsm.events import Call
from sockfsm.trace.trace import Trace
from sockfsm.tracer import block
from sockfsm.tracer.rows import Row
from sockfsm.tracer.sockets import tracked_by

UNTRACED = frozenset({"disconnect"})
"""What Python's sockets cannot do, so that no tracer sees it."""


class Tracer:
    """What the tracer knows of the sockets of one bench, and what enforce did."""

    def __init__(self, trace: Trace, judge: Judge | None) -> None:
        self._trace = trace
        self._judge = judge

    def row(self, sock: socket) -> Row:
        """The tracer's row for the socket."""
        return tracked_by(sock).row

    def states(self, sock: socket) -> str:
        """All states that the socket may be in, as `Compiled` writes them."""
        return self.row(sock).states

    def differs(self, sock: socket, states: str) -> str:
        """How the tracer's states differ from `states`; '' if they do not."""
        told = self.states(sock)
        return "" if told == states else f"{states}, while the tracer says {told}"

    def wrong(self) -> str:
        """What enforce has done wrong since the last time; '' if nothing."""
        if self._judge is None:
            return ""
        found = "; ".join(self._judge.wrongs)
        self._judge.wrongs.clear()
        return found

    def asked(self, variant: str) -> str:
        """What is known of the latest call; the kernel may have been asked without a wait."""
        if self._judge is None or not self._judge.hurried:
            return variant
        self._judge.hurried = False
        return variant.replace("timeout", "nonblocking")

    def unexplained(self) -> Iterator[Call]:
        """Yield the calls that the trace cannot explain."""
        return (call for call in self._trace.calls() if not call.explained)


@contextmanager
def tracing(enforce: bool = False) -> Iterator[Tracer]:
    """Trace all sockets in the block. enforce: also guard them, as `enforcing` does."""
    with block.tracing() as trace, ExitStack() as stack:
        yield Tracer(trace, stack.enter_context(enforcing()) if enforce else None)
