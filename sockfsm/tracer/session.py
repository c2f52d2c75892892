"""What is on in this process: the log, the patched methods; and how it goes on across fork.

A process that `sockfsm run` starts needs this and no more; for users it is `tracer.block`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket as _stdlib
import stat
import sys
from collections.abc import Iterable, Mapping
from os import fstat, getpid, getppid, write
from typing import TYPE_CHECKING, Any, NamedTuple

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS
from sockfsm.record import sizes
from sockfsm.record.clocks import Clocks, clock_pair
from sockfsm.record.layout import METHODS, NUMBER
from sockfsm.record.names import namespace
from sockfsm.record.windows import SIZE
from sockfsm.record.writer import MAX_SIZE, Note, per_segment, programs
from sockfsm.tracer import adapters, addresses, graves, outside, places, recorder, sockets
from sockfsm.tracer.calls import METHODS_TRACED
from sockfsm.tracer.enforce import enforced
from sockfsm.tracer.ongoing import waiting
from sockfsm.tracer.recorder import log
from sockfsm.tracer.rows import step
from sockfsm.tracer.sinks import Sink, feed

if TYPE_CHECKING:
    from sockfsm.events import Call
    from sockfsm.model.executed import SocketMachine
    from sockfsm.trace.trace import Trace
    from sockfsm.wire.capture import Capture

# The program may put a class of its own in its place.
_Socket = _stdlib.socket
MODES = ("observe", "enforce")


class _Origin(NamedTuple):
    """Where a process's sockets come from: the log of its parent, those below `number`, and when."""

    log: str
    number: int
    time: int


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
        self.blocks = 0
        self.ends_with_blocks = False
        """Whether `tracing` began it: then it ends with the last of the blocks."""
        self.forking = 0
        self.origin = _Origin("", 0, 0)
        self.max_size = MAX_SIZE
        self.supervised = False
        self.drop_in: type | None = None
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace | None:
        """The trace that is being written."""
        if self.folder and self._trace is None:
            from sockfsm.trace.trace import Trace

            self._trace = Trace(self.folder)
            self._trace.up_to_date = sockets.bury
        return self._trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        self._trace = trace
        if trace is not None:
            trace.up_to_date = sockets.bury
        self.folder = str(trace.path) if trace is not None else ""


session = _Session()


class _Voice:
    """Standard error as it was when tracing began; the program may close it, and a socket of its own
    may get the number."""

    def __init__(self) -> None:
        self.known: tuple[int, int] | None = None

    def listen(self) -> None:
        """What descriptor 2 is now is where we may write."""
        self.known = self._now()

    def _now(self) -> tuple[int, int] | None:
        try:
            found = fstat(2)
        except OSError:
            return None
        return None if stat.S_ISSOCK(found.st_mode) else (found.st_dev, found.st_ino)

    def say(self, line: str) -> None:
        """Write a line if it reaches whom it is for."""
        if self.known is not None and self._now() == self.known:
            try:
                write(2, line.encode("utf-8", "backslashreplace"))
            except OSError:
                self.known = None  # nobody is left to tell


voice = _Voice()


def report(line: str) -> None:
    """One line for the person who runs the program, on standard error and in the trace."""
    voice.say(f"sockfsm: {line}\n")
    _note(line)


def _note(line: str) -> None:
    log.note({"said": line, "at": Clocks.monotonic()})


def start(
    folder: str,
    *,
    mode: str = "observe",
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    max_size: int | str | None = None,
) -> None:
    """Begin a log in `folder`, which exists.

    max_size: bytes that the logs of the trace may take, see `sizes.parse`; the newest calls stay.
    UsageError for an unknown mode or kind, or a folder that cannot be written.
    """
    check(mode)
    for name in machines or ():
        if name not in KINDS:
            raise UsageError(f"no kind {name!r}: choose one of {', '.join(KINDS)}")
    session.max_size = sizes.parse(max_size)
    session.supervised = os.environ.get("SOCKFSM_TRACE") == folder
    voice.listen()
    adapters.unseen.say = report
    sockets.reset(machines)
    session.mode, session.pid = mode, getpid()
    session.sinks = feed(log, sinks, report)
    try:
        _open(folder, _Origin("", 0, Clocks.monotonic()))
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
    session.ends_with_blocks = False
    if session.installed:
        unpatch()
        dress("observe")
        session.installed = False
    if session.folder:
        stop()


def _open(folder: str, origin: _Origin) -> None:
    """Begin this process's log in `folder`."""
    places.forget()
    addresses.forget()
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
        for thread in list(recorder.threads):
            ident, known = recorder.threads.get(thread, (0, ""))
            notes.append({"thread": thread, "ident": ident, "name": known})
        return notes

    log.rotated = _rotated
    # What went wrong the supervisor says at the end: the program's own output is the program's.
    log.open(folder, pid, told, _note if session.supervised else report, session.max_size)
    for name in list(sockets.kinds):
        sockets.note_kind(sockets.kinds[name])


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


def _rotated(path: str, segment: int) -> None:
    """A segment has begun: without a supervisor it is for us to keep below `max_size`."""
    if session.supervised and segment * per_segment(session.max_size) * SIZE < session.max_size:
        return
    folder, name = os.path.split(path)
    # One that runs beside us has its own pace: leave it a fifth.
    most = session.max_size + session.max_size // 5 if session.supervised else session.max_size
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


def stop() -> None:
    """End the log. Sockets that are still open stay so, untraced."""
    sockets.bury()
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
    if log.path:
        session.origin = _Origin(os.path.basename(log.path), sockets.number(), session.forking)
    origin = session.origin  # else the log of a parent that has written nothing itself
    waiting.clear()
    graves.forget()
    recorder.threads.clear()
    session.capture = None
    if session._trace is not None and session._trace.keep is not None:
        session._trace.keep.detach()

    def reopen() -> None:
        session.pid = getpid()
        _open(folder, origin)
        recorder.note_thread(recorder.me.number)

    log.leave(reopen)


def _fork() -> None:
    """Before a fork. Afterwards the parent may go on, and close what the child has, long before it."""
    if session.folder:
        sockets.bury()
    session.forking = Clocks.monotonic()


os.register_at_fork(before=_fork, after_in_child=_child)


def _exit() -> None:
    """The program ends: what is still open is closed by the kernel."""
    if not session.folder or session.pid != getpid():
        return
    sockets.bury()
    now = Clocks.monotonic()
    for key in list(sockets.records):
        tracked = sockets.records.get(key)
        if tracked is None or tracked.model.row.gone:
            continue
        model = tracked.model
        bits, model.row = step(model.row, NUMBER["exit"], "ok", "", model)
        log.write(now, now, bits, model.number, 0, recorder.me.number, 0, 0)
    end()


def _main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        with contextlib.suppress(ImportError):
            interpreters = __import__(name)
            return bool(interpreters.get_current() == interpreters.get_main())
    return True


# In a subinterpreter that lives until the process ends, anything registered with atexit makes 0 of
# the exit status of a program that raises (CPython 3.11): there the log just ends.
if _main_interpreter():
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
