"""Switching tracing on and off: for a process, for a block, and across fork."""

from __future__ import annotations

import atexit
import os
import shutil
import socket as _stdlib
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.record.writer import clock_pair
from sockfsm.trace.trace import Trace
from sockfsm.tracer import adapters, outside, recorder, sockets
from sockfsm.tracer.calls import METHODS_TRACED
from sockfsm.tracer.enforce import enforced
from sockfsm.tracer.recorder import log
from sockfsm.tracer.rows import step
from sockfsm.tracer.sinks import Sink, feed

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine
    from sockfsm.trace.events import Call
    from sockfsm.wire.capture import Capture

MODES = ("observe", "enforce")


class _Session:
    """What is on in this process."""

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.mode = "observe"
        self.installed = False
        self.capture: Capture | None = None
        self.sinks: list[Sink] = []
        self.originals: list[tuple[Any, str, Any]] = []
        self.pid = 0
        self.drop_in: type | None = None


session = _Session()


def report(line: str) -> None:
    """One line for the person who runs the program, on standard error."""
    try:
        os.write(2, f"sockfsm: {line}\n".encode())
    except OSError:
        session.sinks = []  # standard error is closed: nobody is left to tell


def start(
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "observe",
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    shared: bool = False,
) -> Trace:
    """Begin a log in folder `path` (made if it is not there; a temporary one without a name).

    UsageError for an unknown mode or kind, or a folder that cannot be written.
    """
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: choose observe or enforce")
    for name in machines or ():
        if name not in KINDS:
            raise UsageError(f"no kind {name!r}: choose one of {', '.join(KINDS)}")
    folder = _folder(path)
    sockets.reset(machines, folder if shared else "")
    session.mode, session.pid = mode, os.getpid()
    session.sinks = feed(log, sinks)
    try:
        _open(folder, ("", 0))
    except OSError as error:
        raise UsageError(f"{folder}: cannot write a trace there: {error.strerror}") from None
    session.trace = Trace(folder)
    if path is None:
        session.trace._keep = weakref.finalize(session.trace, shutil.rmtree, folder, True)
    return session.trace


def _folder(path: str | os.PathLike[str] | None) -> str:
    if path is None:
        return tempfile.mkdtemp(prefix="sockfsm-")
    folder = os.path.abspath(os.fspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot make the trace's folder: {error.strerror}") from None
    return folder


def _open(folder: str, inherit: tuple[str, int]) -> None:
    """Begin this process's log in `folder`."""
    recorder.sites.clear()
    recorder.addresses.clear()
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
    for thread, (ident, known) in recorder.threads.items():
        log.note({"thread": thread, "ident": ident, "name": known})
    for found in sockets.kinds.values():
        sockets.note_kind(found)


def stop() -> None:
    """End the log. Sockets that are still open stay so, untraced."""
    log.note({"ended": monotonic_ns()})
    log.listen(None)
    log.close()
    session.trace = None
    session.sinks = []
    sockets.reset()


def _child() -> None:
    """After fork: the sockets are ours too, the log is the parent's."""
    if session.trace is None:
        return
    folder = str(session.trace.path)
    parent, born = os.path.basename(log.path), sockets.number()
    recorder.waiting.clear()
    recorder.threads.clear()
    session.capture = None
    if session.trace._keep is not None:
        session.trace._keep.detach()  # type: ignore[attr-defined]

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
    if session.trace is None or session.pid != os.getpid():
        return
    now = recorder.clock()
    for tracked in set(sockets.records.values()):
        if tracked.row.state not in ("CLOSED", "CLOSED_PATH_LEFT", "DETACHED"):
            bits = step(tracked, NUMBER["exit"], "ok")
            log.write(now, now, bits, tracked.number, 0, recorder.me.number, 0, 0)
    uninstall()


atexit.register(_exit)


def patch() -> None:
    """Put the traced methods in place, on `socket.socket` and on the drop-in class."""
    methods = METHODS_TRACED
    if session.mode == "enforce":
        methods = enforced(METHODS_TRACED, history)
    for name, method in methods.items():
        session.originals.append((_stdlib.socket, name, _stdlib.socket.__dict__.get(name)))
        setattr(_stdlib.socket, name, method)
    for module, name, function in outside.FUNCTIONS:
        session.originals.append((module, name, getattr(module, name)))
        setattr(module, name, function)
    adapters.adapt()


def unpatch() -> None:
    """Give everybody their own methods back."""
    adapters.restore()
    for owner, name, original in reversed(session.originals):
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
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


def install(
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "observe",
    capture: bool = False,
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    shared: bool = False,
) -> Trace:
    """Trace every socket of this process, and of those it forks, until `uninstall`.

    path: the trace's folder, made if need be; without one a temporary folder that goes with the
    Trace. mode: `observe` leaves the program as it is, `enforce` raises `IllegalCall` where the
    machine refuses. capture: record loopback's packets beside the calls. machines: kind -> a
    `transitions` machine of your own (see `machine`). sinks: callables that get every finished
    `Call`; by default the `sockfsm` logger, when somebody listens to it.
    shared: other processes trace into the same folder and use what this one compiles.
    UsageError when tracing is already on, or an argument cannot be taken.
    """
    if session.installed:
        raise UsageError(f"already tracing, to {session.trace.path if session.trace else '?'}")
    if session.trace is not None:
        stop()
    trace = start(path, mode=mode, machines=machines, sinks=sinks, shared=shared)
    if capture:
        _start_capture(trace)
    session.installed = True
    patch()
    dress(mode)
    return trace


def uninstall() -> None:
    """Stop tracing and give `socket.socket` its own methods back. Does nothing when it is off."""
    if not session.installed:
        if session.trace is not None:
            stop()
        return
    unpatch()
    dress("observe")
    session.installed = False
    trace, running = session.trace, session.capture
    stop()
    if running is not None and trace is not None:
        session.capture = None
        from sockfsm.tracer.packets import finish

        finish(running, trace)


def _start_capture(trace: Trace) -> None:
    from sockfsm.tracer.packets import begin

    session.capture = begin(trace, report)


@contextmanager
def tracing(
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "observe",
    capture: bool = False,
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
) -> Iterator[Trace]:
    """`install` for a block: `with tracing() as trace: ...`. The trace stays readable after it.

    Inside another `tracing` or under `sockfsm run`, the block is a view on the trace that is
    being written: same log, from the block's begin to its end, in the block's own mode.
    """
    if not session.installed:
        trace = install(path, mode=mode, capture=capture, machines=machines, sinks=sinks)
        try:
            yield trace
        finally:
            uninstall()
        return
    assert session.trace is not None
    if path is not None:
        raise UsageError(f"{path}: already tracing, to {session.trace.path}; leave the path out")
    if machines:
        raise UsageError("already tracing: machines can be given to the outermost block only")
    outer = session.mode
    view = Trace(session.trace.path, since=monotonic_ns())
    view._keep = session.trace
    _switch(mode)
    try:
        yield view
    finally:
        _switch(outer)
        view.until = monotonic_ns()


def _switch(mode: str) -> None:
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: choose observe or enforce")
    if mode != session.mode:
        unpatch()
        session.mode = mode
        patch()
        dress(mode)
