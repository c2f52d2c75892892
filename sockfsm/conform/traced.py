"""The tracer beside the running kernel: the bench's sockets are traced, and looked at after each call.

What the tracer says that a socket may be in must be what the machine makes of the same outcomes,
and the trace that is left behind must explain every call, those of the peers, too.
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
"""What Python's sockets cannot do, and so no tracer of them sees."""


class Tracer:
    """What the tracer knew of the sockets of one bench, and what enforce did to their calls."""

    def __init__(self, trace: Trace, judge: Judge | None) -> None:
        self._trace = trace
        self._judge = judge

    def row(self, sock: socket) -> Row:
        """Where the tracer sees the socket."""
        return tracked_by(sock).row

    def states(self, sock: socket) -> str:
        """All that the socket may be in, as `Compiled` writes it."""
        return self.row(sock).states

    def differs(self, sock: socket, states: str) -> str:
        """How what the tracer says differs from `states`, '' where it does not."""
        told = self.states(sock)
        return "" if told == states else f"{states}, while the tracer says {told}"

    def wrong(self) -> str:
        """What enforce did wrong since the last time, '' where nothing was."""
        if self._judge is None:
            return ""
        found = "; ".join(self._judge.wrongs)
        self._judge.wrongs.clear()
        return found

    def asked(self, variant: str) -> str:
        """What is known of the call just made: the kernel may have been asked without a wait."""
        if self._judge is None or not self._judge.hurried:
            return variant
        self._judge.hurried = False
        return variant.replace("timeout", "nonblocking")

    def unexplained(self) -> Iterator[Call]:
        """The calls that the trace cannot explain."""
        return (call for call in self._trace.calls() if not call.explained)


@contextmanager
def tracing(enforce: bool = False) -> Iterator[Tracer]:
    """Trace all sockets of the block. enforce: as in that mode, and the kernel hears of it all."""
    with block.tracing() as trace, ExitStack() as stack:
        yield Tracer(trace, stack.enter_context(enforcing()) if enforce else None)
