"""What is on in this process: the log, the patched methods; and how it goes on across fork.

A process that `sockfsm run` starts needs this and no more; for users it is `tracer.block`.
"""

from __future__ import annotations

import atexit
import os
import socket as _stdlib
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.record.writer import clock_pair
from sockfsm.tracer import adapters, addresses, outside, places, recorder, sockets
from sockfsm.tracer.calls import METHODS_TRACED
from sockfsm.tracer.enforce import enforced
from sockfsm.tracer.ongoing import waiting
from sockfsm.tracer.recorder import log
from sockfsm.tracer.rows import step
from sockfsm.tracer.sinks import Sink, feed

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine
    from sockfsm.trace.events import Call
    from sockfsm.trace.trace import Trace
    from sockfsm.wire.capture import Capture

# The program may put a class of its own in its place.
_Socket = _stdlib.socket
MODES = ("observe", "enforce")


class _Session:
    """What is on in this process."""

    def __init__(self) -> None:
        self.folder = ""
        self.mode = "observe"
        self.installed = False
        self.capture: Capture | None = None
        self.sinks: list[Sink] = []
        self.originals: list[tuple[Any, str, Any, Any]] = []
        self.pid = 0
        self.drop_in: type | None = None
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace | None:
        """The trace that is being written."""
        if self.folder and self._trace is None:
            from sockfsm.trace.trace import Trace

            self._trace = Trace(self.folder)
        return self._trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        self._trace = trace
        self.folder = str(trace.path) if trace is not None else ""


session = _Session()


def report(line: str) -> None:
    """One line for the person who runs the program, on standard error."""
    try:
        os.write(2, f"sockfsm: {line}\n".encode())
    except OSError:
        session.sinks = []  # standard error is closed: nobody is left to tell


def start(
    folder: str,
    *,
    mode: str = "observe",
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
) -> None:
    """Begin a log in `folder`, which exists.

    UsageError for an unknown mode or kind, or a folder that cannot be written.
    """
    check(mode)
    for name in machines or ():
        if name not in KINDS:
            raise UsageError(f"no kind {name!r}: choose one of {', '.join(KINDS)}")
    sockets.reset(machines)
    session.mode, session.pid = mode, os.getpid()
    session.sinks = feed(log, sinks)
    try:
        _open(folder, ("", 0))
    except OSError as error:
        raise UsageError(f"{folder}: cannot write a trace there: {error.strerror}") from None
    session.folder = folder
    sockets.prepare()


def check(mode: str) -> None:
    """UsageError for an unknown mode."""
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: choose observe or enforce")


def begin(folder: str, mode: str, **options: Any) -> None:
    """Trace every socket of this process from now on. Options: those of `start`."""
    start(folder, mode=mode, **options)
    session.installed = True
    patch()
    dress(mode)


def end() -> None:
    """Stop tracing and give `socket.socket` its own methods back."""
    if session.installed:
        unpatch()
        dress("observe")
        session.installed = False
    if session.folder:
        stop()


def _open(folder: str, inherit: tuple[str, int]) -> None:
    """Begin this process's log in `folder`."""
    places.forget()
    addresses.forget()
    pid = os.getpid()
    number = 0
    while os.path.exists(name := os.path.join(folder, f"{pid}-{number}.calls")):
        number += 1
    log.open(name, report)
    monotonic, wall = clock_pair()
    log.note(
        {
            "pid": pid,
            "parent": os.getppid(),
            "from": inherit[0],
            "inherits": inherit[1],
            "command": [sys.executable, *getattr(sys, "orig_argv", sys.argv)[1:]],
            "python": sys.version.split()[0],
            "monotonic": monotonic,
            "wall": wall,
            "methods": METHODS,
        }
    )
    for thread in list(recorder.threads):
        ident, known = recorder.threads.get(thread, (0, ""))
        log.note({"thread": thread, "ident": ident, "name": known})
    for name in list(sockets.kinds):
        sockets.note_kind(sockets.kinds[name])


def stop() -> None:
    """End the log. Sockets that are still open stay so, untraced."""
    log.note({"ended": Clocks.monotonic()})
    log.listen(None)
    log.close()
    session.trace = None
    session.sinks = []
    sockets.reset()


def _child() -> None:
    """After fork: the sockets are ours too, the log is the parent's."""
    if not session.folder:
        return
    folder = session.folder
    parent, born = os.path.basename(log.path), sockets.number()
    waiting.clear()
    recorder.threads.clear()
    session.capture = None
    if session._trace is not None and session._trace.keep is not None:
        session._trace.keep.detach()

    def reopen() -> None:
        session.pid = os.getpid()
        try:
            _open(folder, (parent, born))
        except OSError as error:
            log.fail(f"{folder}: {error.strerror}")
        recorder.note_thread(recorder.me.number)

    log.leave(reopen)


os.register_at_fork(after_in_child=_child)


def _exit() -> None:
    """The program ends: what is still open is closed by the kernel."""
    if not session.folder or session.pid != os.getpid():
        return
    now = Clocks.monotonic()
    for key in list(sockets.records):
        tracked = sockets.records.get(key)
        if tracked is None or tracked.model.row.gone:
            continue
        model = tracked.model
        bits, model.row = step(model.row, NUMBER["exit"], "ok", "", model)
        log.write(now, now, bits, model.number, 0, recorder.me.number, 0, 0)
    end()


atexit.register(_exit)


def patch() -> None:
    """Put the traced methods in place, on `socket.socket` and on the drop-in class."""
    methods = METHODS_TRACED
    if session.mode == "enforce":
        methods = enforced(METHODS_TRACED, history)
    for name, method in methods.items():
        session.originals.append((_Socket, name, _Socket.__dict__.get(name), method))
        setattr(_Socket, name, method)
    for module, name, function in outside.FUNCTIONS:
        session.originals.append((module, name, getattr(module, name), function))
        outside.claim_support(getattr(module, name), function)
        setattr(module, name, function)
    adapters.watch()


def unpatch() -> None:
    """Give everybody their own methods back."""
    adapters.restore()
    for owner, name, original, ours in reversed(session.originals):
        if vars(owner).get(name) is not ours:
            continue  # somebody has put another one there since, and will take it away
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
    for _, _, function in outside.FUNCTIONS:
        outside.drop_support(function)
    session.originals.clear()


def dress(mode: str) -> None:
    """Let the drop-in class follow the mode."""
    if session.drop_in is not None:
        table = METHODS_TRACED if mode == "observe" else enforced(METHODS_TRACED, history)
        for name, method in table.items():
            setattr(session.drop_in, name, method)


def history(number: int) -> tuple[Call, ...]:
    """The finished calls of one socket of this process."""
    if session.trace is None:
        return ()
    name = os.path.basename(log.path)
    return tuple(
        call
        for call in session.trace.calls()
        if call.socket is not None and call.socket.number == number and call.process.log == name
    )


def switch(mode: str) -> None:
    """Go on in another mode."""
    check(mode)
    if mode != session.mode:
        unpatch()
        session.mode = mode
        patch()
        dress(mode)
