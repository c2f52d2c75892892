"""Tracing, for users: `install` for a process, `tracing` for a block."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.record import room, sizes
from sockfsm.record.clocks import Clocks
from sockfsm.record.folder import make_folder
from sockfsm.trace.trace import Trace
from sockfsm.tracer import current, packets
from sockfsm.tracer.session import begin, check, end, switch, trace, write_to
from sockfsm.tracer.sinks import Sink

if TYPE_CHECKING:
    from sockfsm.model.executed import SocketMachine


_NEEDED_LATER = room  # see `session._rotated`: then there may be no way to load it


def install(
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "observe",
    capture: bool = False,
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    max_size: int | str | None = None,
) -> Trace:
    """Trace every socket of this process, and of those it forks, until `uninstall`.

    path: the trace's folder, made if need be; without one a temporary folder that goes with the
    Trace. mode: `observe` leaves the program as it is, `enforce` raises `IllegalCall` where the
    machine refuses. capture: record loopback's packets beside the calls. machines: kind -> a
    `transitions` machine of your own (see `machine`). sinks: callables that get every finished
    `Call`; by default the `sockfsm` logger, when somebody listens to it. max_size: what the call logs
    may take on disk (`512M`): when they are full the oldest calls go.
    UsageError when tracing is already on, or an argument cannot be taken.
    """
    before = current.session
    if before.installed:
        raise UsageError(f"already tracing, to {before.folder}")
    end()
    check(mode)
    max_size = sizes.parse(max_size)
    trace = folder_for(path)
    before.voice.listen()
    running = packets.begin(trace, before.report, max_size=max_size) if capture else None
    try:
        session = begin(str(trace.path), mode, machines=machines, sinks=sinks, max_size=max_size)
    except BaseException:
        if running is not None:
            running.stop()
        raise
    session.capture = running
    write_to(trace)
    return trace


def uninstall() -> None:
    """Stop tracing and give `socket.socket` its own methods back. Does nothing when it is off."""
    session = current.session
    end()
    if session.capture is not None and session.trace is not None:
        packets.finish(session.capture, session.trace, session.report)
        session.capture = None


def folder_for(path: str | os.PathLike[str] | None) -> Trace:
    """A new trace's folder, made if need be; without a name a temporary one that goes with it."""
    if path is None:
        trace = Trace(tempfile.mkdtemp(prefix="sockfsm-"))
        trace.keep = weakref.finalize(trace, shutil.rmtree, trace.path, True)
        return trace
    folder = os.path.abspath(os.fspath(path))
    make_folder(folder)
    return Trace(folder)


@contextmanager
def tracing(
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "observe",
    capture: bool = False,
    machines: Mapping[str, SocketMachine] | None = None,
    sinks: Iterable[Sink] | None = None,
    max_size: int | str | None = None,
) -> Iterator[Trace]:
    """`install` for a block: `with tracing() as trace: ...`. The trace stays readable after it.

    Inside another `tracing` or under `sockfsm run`, the block is a view on the trace that is
    being written: same log, from the block's begin to its end, in the block's own mode.
    """
    with _gate:
        outermost = not current.session.installed
        if outermost:
            trace = install(
                path, mode=mode, capture=capture, machines=machines, sinks=sinks, max_size=max_size
            )
            before = mode
            session = current.session
            session.blocks, session.ends_with_blocks = 1, True
        else:
            trace = _view(path, machines, max_size)
            session = current.session
            before = session.mode
            switch(mode)
            session.blocks += 1
    try:
        yield trace
    finally:
        with _gate:
            session.blocks -= 1
            going = current.session is session
            if going and session.ends_with_blocks and not session.blocks:
                uninstall()
            else:
                # A block in another thread goes on, or what the block stands in.
                trace.until = Clocks.monotonic()
                if going and not outermost:
                    switch(before)


# A handler or a finalizer of the same thread may begin a block of its own.
_gate = threading.RLock()


def _view(path: object, machines: object, max_size: object) -> Trace:
    """The trace that is being written, from now on."""
    running = trace()
    assert running is not None
    if path is not None:
        raise UsageError(f"{path}: already tracing, to {running.path}; leave the path out")
    if machines:
        raise UsageError("already tracing: machines can be given to the outermost block only")
    if max_size is not None:
        raise UsageError("already tracing: max_size can be given to the outermost block only")
    view = Trace(running.path, since=Clocks.monotonic())
    view.keep, view.up_to_date = running, running.up_to_date
    return view
