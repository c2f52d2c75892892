"""Assertions about socket calls, for any test framework.

from sockfsm.testing import illegal

with illegal("listen", state="CONNECTED", errno=errno.EINVAL):
    conn.listen()
"""

from __future__ import annotations

import os
import socket as _stdlib
from contextlib import AbstractContextManager
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError, nearest

if TYPE_CHECKING:
    from sockfsm.events import Call
    from sockfsm.trace.trace import Trace

__all__ = ["illegal"]


class illegal:  # noqa: N801 - it reads as a statement: with illegal("listen"): ...
    """Assert that the block makes exactly one illegal call, and swallow the OSError that it raises.

    call: what the program calls (`sendall`, `shutdown`), or its word in the machine (`send`,
    `shutdown_wr`). state: the flat state in which the call is refused. errno: its number or name.
    socket: the socket that refuses the call. The last three default to any.

    AssertionError if the call was legal, if another call was refused, or if none was; the message says
    what happened instead. Exceptions that do not come from the refusal pass through.

    It works in both modes, and on every socket. A socket that was not traced before is traced for the
    block; its past is unknown, so its state is the likeliest one. Only calls of the thread that runs
    the block count. After the block, `.refusal` is the refused `Call`.
    """

    def __init__(
        self,
        call: str,
        *,
        state: str | None = None,
        errno: int | str | None = None,
        socket: _stdlib.socket | None = None,
    ) -> None:
        self.refusal: Call | None = None
        self._call = _known(call)
        self._state = state
        self._errno = _name_of(errno)
        self._socket = socket
        self._number: int | None = None
        self._since = 0
        self._trace: Trace | None = None
        self._tracing: AbstractContextManager[Trace] | None = None
        self._patched = False

    def __enter__(self) -> illegal:
        import sockfsm
        from sockfsm.tracer import current, session, sockets

        if session.trace() is None:
            self._tracing = sockfsm.tracing()
            self._tracing.__enter__()
        elif not current.session.installed:
            # Only drop-in sockets are traced; trace all others as well while the block runs.
            session.patch()
            self._patched = True
        if self._socket is not None:
            self._number = sockets.tracked_by(self._socket).model.number
        # A trace may have millions of calls; only those from here on are read.
        self._since = monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        from sockfsm.tracer import session

        try:
            calls = self._calls()
        finally:
            if self._patched:
                session.unpatch()
            if self._tracing is not None:
                self._tracing.__exit__(None, None, None)
        # An unrelated exception must pass, even if some call was refused as well.
        failures = [call for call in calls if call.refused]
        if error is not None and not _comes_of(error, failures):
            return False
        refused = [call for call in failures if self._counts(call)]
        if len(refused) == 1 and self._fits(refused[0]):
            self.refusal = refused[0]
            return error is not None
        raise AssertionError(self._explain(calls, refused)) from error

    def _counts(self, call: Call) -> bool:
        """Whether the state refused the call, or may have done so if the socket's past is unknown."""
        from sockfsm.trace.verdict import out_of_order

        unknown = self._state is None and self._errno is not None and self._late(call)
        return unknown or out_of_order(call)

    def _late(self, call: Call) -> bool:
        """Whether the call's socket has only been traced since this block began."""
        return (
            self._tracing is not None and call.socket is not None and call.socket.made_by == "adopt"
        )

    def _calls(self) -> list[Call]:
        """The calls that this thread has made in the block."""
        from sockfsm.trace.trace import Trace
        from sockfsm.tracer import current, session

        running = session.trace()
        assert running is not None, "tracing was switched off inside the block"
        self._trace = Trace(running.path, since=self._since)
        log, me = os.path.basename(current.session.log.path), current.session.me.number
        return [
            call
            for call in self._trace.calls()
            if call.begin >= self._since and call.process.log == log and call.thread.number == me
        ]

    def _named(self, call: Call) -> bool:
        return self._call in (call.call, call.method, call.method.partition("(")[0])

    def _fits(self, call: Call) -> bool:
        return self._named(call) and not self._differences(call)

    def _differences(self, call: Call) -> list[str]:
        """How the refusal of the right call differs from the expected one."""
        differences = []
        if self._state is not None and call.before != self._state:
            differences.append(f"in state {call.before}, not {self._state}")
        if self._errno is not None and call.outcome != self._errno:
            differences.append(f"with {call.outcome}, not {self._errno}")
        if self._number is not None and (call.socket is None or call.socket.number != self._number):
            differences.append("on another socket")
        return differences

    def _explain(self, calls: list[Call], refused: list[Call]) -> str:
        expected = f"expected that {self._call}() is refused"
        expected += f" in state {self._state}" if self._state else ""
        expected += f" with {self._errno}" if self._errno else ""
        lines = [f"{expected}, but {self._instead(calls, refused)}"]
        lines += [f"  {_described(call)}" for call in calls[-_LISTED:]]
        lines += _advice(self._state, calls)
        if any(map(self._late, calls)):
            lines.append(_LATE)
        if self._trace is not None:
            from sockfsm.views.incomplete import incomplete

            lines += [f"  {line}" for line in incomplete(self._trace)]
        return "\n".join(lines)

    def _instead(self, calls: list[Call], refused: list[Call]) -> str:
        if not calls:
            return "the block made no socket call in this thread"
        if len(refused) > 1:
            return f"{len(refused)} calls were refused: put each into a block of its own"
        if refused and not self._named(refused[0]):
            return f"another call was refused: {refused[0].method}()"
        if refused:
            return "it was refused " + " and ".join(self._differences(refused[0]))
        named = [call for call in calls if self._named(call)]
        if not named:
            return "it was not called"
        call = named[-1]
        if call.refused:
            return (
                f"it was legal in {call.before}: it failed with {call.outcome} for a reason outside"
                f" the socket (use pytest.raises(OSError) for that)"
            )
        if call.socket is not None and call.before in ("", "-", "?"):
            return f"no machine covers {call.socket.kind} sockets"
        return f"it was legal in {call.before}"


_LISTED = 12  # the most calls in an explanation
_LATE = (
    "  Tracing began with this block, so what the socket did before is not known: create it inside"
    " sockfsm.tracing(), or use the fixture sockfsm_trace."
)


def _known(word: str) -> str:
    """`word` if it is a method or a call of a machine. UsageError otherwise."""
    from sockfsm.record.layout import METHODS

    words = {name for method, call in METHODS for name in (method.partition("(")[0], call) if name}
    if word.rstrip("()") not in words:
        raise UsageError(f"no call {word!r}: {nearest(word, sorted(words))}")
    return word.rstrip("()")


def _name_of(number: int | str | None) -> str | None:
    """`EINVAL` for errno.EINVAL. UsageError for anything that is not an errno."""
    from sockfsm.model.errnos import errno_name, known_errno

    if number is None:
        return None
    name = known_errno(errno_name(number) if isinstance(number, int) else number)
    if not name:
        raise UsageError(f"no errno {number!r}: use one of the module errno")
    return name


def _comes_of(error: BaseException, failures: list[Call]) -> bool:
    return isinstance(error, OSError) and any(error.errno == call.errno for call in failures)


def _described(call: Call) -> str:
    """One call as a line of the explanation, and the reason if it was refused."""
    from sockfsm.views.phrases import answered, place, reason, spoken, states

    line = f"{spoken(call)} = {answered(call)}  {states(call)}  {place(call.site, 60)}"
    why = reason(call)
    return f"{line}\n    why: {why}" if why else line


def _advice(state: str | None, calls: list[Call]) -> list[str]:
    """A line of advice if the block's sockets have no state of the expected name."""
    from sockfsm.model.kinds import KINDS, flat_of

    kinds = {call.socket.kind for call in calls if call.socket is not None} & set(KINDS)
    if state is None or not kinds or any(state in flat_of(kind).states for kind in kinds):
        return []
    kind = min(kinds)
    return [f"  {kind} has no state {state}: {nearest(state, flat_of(kind).states)}"]
