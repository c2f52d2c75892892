"""Starts and stops the session; puts the traced methods in place; goes on across fork.

A process that `sockfsm run` starts needs this and no more; for users it is `tracer.block`.
"""

from __future__ import annotations

import atexit
import os
import socket as _stdlib
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from os import getpid, getppid
from typing import TYPE_CHECKING, Any

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.record import sizes
from sockfsm.record.clocks import Clocks, clock_pair
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.record.names import namespace
from sockfsm.record.windows import SIZE
from sockfsm.record.writer import Note, per_segment, programs
from sockfsm.tracer import adapters, current, outside, transfer
from sockfsm.tracer.calls import METHODS_TRACED
from sockfsm.tracer.current import Origin, Session
from sockfsm.tracer.enforce import enforced
from sockfsm.tracer.interpreters import is_main
from sockfsm.tracer.rows import step
from sockfsm.tracer.sinks import Sink, feed
from sockfsm.tracer.sockets import bury, note_kind, prepare

if TYPE_CHECKING:
    from sockfsm.events import Call
    from sockfsm.model.executed import SocketMachine
    from sockfsm.trace.trace import Trace

# The program may put a class of its own in its place.
_Socket = _stdlib.socket
MODES = ("observe", "enforce")
_originals: list[tuple[Any, str, Any, Any]] = []
"""(owner, attribute, what stood there, what stands there now). The methods are the interpreter's, no
session's: so are these, and the two below."""
drop_in: list[type] = []
"""The drop-in class, once it is loaded."""
_forking = [0]
"""When the fork began that is under way, or was last."""


def start(
    folder: str,
    *,
    mode: str = "observe",
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    max_size: int | str | None = None,
) -> Session:
    """Begin a session with a log in `folder`, which exists.

    max_size: bytes that the logs of the trace may take, see `sizes.parse`; the newest calls stay.
    UsageError for an unknown mode or kind, or a folder that cannot be written.
    """
    check(mode)
    for name in machines or ():
        if name not in KINDS:
            raise UsageError(f"no kind {name!r}: choose one of {', '.join(KINDS)}")
    session = Session(machines)
    session.max_size = sizes.parse(max_size)
    session.supervised = os.environ.get("SOCKFSM_TRACE") == folder
    session.voice.listen()
    session.mode, session.pid = mode, getpid()
    session.sinks = feed(session, sinks)
    prepare(session)
    try:
        _open(session, folder, Origin("", 0, Clocks.monotonic()))
    except OSError as error:
        raise UsageError(f"{folder}: cannot write a trace there: {error.strerror}") from None
    session.folder = folder
    _turn_to(session)
    return session


def check(mode: str) -> None:
    """UsageError for an unknown mode."""
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: choose observe or enforce")


def begin(folder: str, mode: str, **options: Any) -> Session:
    """Trace every socket of this process from now on. Options: those of `start`."""
    session = start(folder, mode=mode, **options)
    session.installed = True
    patch()
    dress(mode)
    return session


def end() -> None:
    """Stop tracing and give `socket.socket` its own methods back."""
    session = current.session
    if session.installed:
        unpatch()
        dress("observe")
    if session.folder:
        _stop(session)


def trace() -> Trace | None:
    """The trace that is being written."""
    session = current.session
    if session.folder and session.trace is None:
        from sockfsm.trace.trace import Trace

        write_to(Trace(session.folder))
    return session.trace


def write_to(trace: Trace) -> None:
    """Let `trace` be the one that the current session writes."""
    trace.up_to_date = partial(bury, current.session)
    current.session.trace = trace


def _open(session: Session, folder: str, origin: Origin) -> None:
    """Begin this process's log in `folder`."""
    session.places.forget()
    session.addresses.forget()
    pid = getpid()

    def told(number: int) -> list[Note]:
        monotonic, wall = clock_pair()
        notes: list[Note] = [
            {
                "pid": pid,
                "log": f"{pid}-{number}.calls",
                "pids": namespace(),
                "parent": getppid(),
                "from": origin.log,
                "inherits": origin.number,
                "forked": origin.time,
                "command": _command(),
                "python": sys.version.split()[0],
                "monotonic": monotonic,
                "wall": wall,
                "max_size": session.max_size,
                "methods": METHODS,
            }
        ]
        for thread in list(session.threads.living):
            ident, known = session.threads.living.get(thread, (0, ""))
            notes.append({"thread": thread, "ident": ident, "name": known})
        return notes

    session.log.rotated = partial(_rotated, session)
    # What went wrong the supervisor says at the end: the program's own output is the program's.
    report = session.say if session.supervised else session.report
    session.log.open(folder, pid, told, report, session.max_size)
    for name in list(session.kinds):
        note_kind(session, session.kinds[name])


def _command() -> list[str]:
    """The command line, or as much of it as a note should hold."""
    words, left = [sys.executable, *getattr(sys, "orig_argv", sys.argv)[1:]], 16_000
    told = []
    for word in words:
        told.append(str(word)[:left])
        left -= len(told[-1])
        if left <= 0:
            return [*told, "..."]
    return told


_trimmers = [1]
"""Of the threads of a process one trims at a time, whatever the session: the next segment comes."""


def _rotated(session: Session, path: str, segment: int) -> None:
    """A segment has begun: without a supervisor it is for us to keep below `max_size`."""
    most = session.max_size
    if session.supervised and segment * per_segment(most) * SIZE < most:
        return
    folder, name = os.path.split(path)
    if session.supervised:
        most += most // 5  # one that runs beside us has its own pace: leave it a fifth
    try:
        trimmer = _trimmers.pop()
    except IndexError:
        return  # a signal handler came between, or another thread is at it
    try:
        # `block` has loaded it; whoever has a supervisor will hardly ever need it.
        from sockfsm.record.room import bound

        bound(folder, most, only=name)
    except Exception as error:
        if programs(error):
            raise
        # No descriptor or no memory: the next segment tries again.
    finally:
        _trimmers.append(trimmer)


def _stop(session: Session) -> None:
    """End the log. Sockets that are still open stay so, untraced.

    A call that is under way in another thread ends in the log that is closed, which takes nothing.
    """
    bury(session)
    session.log.note({"ended": Clocks.monotonic()})
    session.log.listen(None)
    session.log.close()
    _turn_to(Session())
    session.forget()


def _turn_to(session: Session) -> None:
    """From now on calls are this session's."""
    transfer.use(session)
    current.session = session


def _child() -> None:
    """After fork: the sockets are ours too, the log is the parent's."""
    session = current.session
    if not session.folder:
        return
    log = session.log
    if log.path:
        session.origin = Origin(os.path.basename(log.path), session.number(), _forking[0])
    origin = session.origin  # else the log of a parent that has written nothing itself
    session.forked()
    if session.trace is not None and session.trace.keep is not None:
        session.trace.keep.detach()

    def reopen() -> None:
        session.pid = getpid()
        _open(session, session.folder, origin)
        session.threads.note(session.me.number)

    log.leave(reopen)


def _fork() -> None:
    """Before a fork. Afterwards the parent may go on, and close what the child has, long before it."""
    if current.session.folder:
        bury(current.session)
    _forking[0] = Clocks.monotonic()


os.register_at_fork(before=_fork, after_in_child=_child)


def _exit() -> None:
    """The program ends: what is still open is closed by the kernel."""
    session = current.session
    if not session.folder or session.pid != getpid():
        return
    bury(session)
    now = Clocks.monotonic()
    for key in list(session.records):
        tracked = session.records.get(key)
        if tracked is None or tracked.model.row.gone:
            continue
        model = tracked.model
        bits, model.row = step(model.row, NUMBER["exit"], "ok", "", model)
        session.log.write(now, now, bits, model.number, 0, session.me.number, 0, 0)
    end()


# In a subinterpreter that lives until the process ends, anything registered with atexit makes 0 of
# the exit status of a program that raises (CPython 3.11): there the log just ends.
if is_main():
    atexit.register(_exit)


def patch() -> None:
    """Put the traced methods in place, on `socket.socket` and on the drop-in class."""
    methods = METHODS_TRACED
    if current.session.mode == "enforce":
        methods = enforced(METHODS_TRACED, history)
    for name, method in methods.items():
        _originals.append((_Socket, name, _Socket.__dict__.get(name), method))
        setattr(_Socket, name, method)
    for module, name, function in outside.FUNCTIONS:
        _originals.append((module, name, getattr(module, name), function))
        outside.claim_support(getattr(module, name), function)
        setattr(module, name, function)
    adapters.watch()


def unpatch() -> None:
    """Give everybody their own methods back."""
    adapters.restore()
    for owner, name, original, ours in reversed(_originals):
        if vars(owner).get(name) is not ours:
            continue  # somebody has put another one there since, and will take it away
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
    for _, _, function in outside.FUNCTIONS:
        outside.drop_support(function)
    _originals.clear()


def dress(mode: str) -> None:
    """Let the drop-in class follow the mode."""
    for cls in drop_in:
        table = METHODS_TRACED if mode == "observe" else enforced(METHODS_TRACED, history)
        for name, method in table.items():
            setattr(cls, name, method)


def history(number: int) -> tuple[Call, ...]:
    """The finished calls of one socket of this process."""
    running = trace()
    if running is None:
        return ()
    name = os.path.basename(current.session.log.path)
    return tuple(
        call
        for call in running.calls()
        if call.socket is not None and call.socket.number == number and call.process.log == name
    )


def switch(mode: str) -> None:
    """Go on in another mode."""
    check(mode)
    if mode != current.session.mode:
        unpatch()
        current.session.mode = mode
        patch()
        dress(mode)
