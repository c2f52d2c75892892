"""The supervisor: starts the capture and the program, and completes the trace when the program ends.

Whatever fails of our own work, the program is started and its exit status is returned. Each failure is
reported in one line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EAGAIN, EMFILE, ENFILE, ENOMEM
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.record.logs import all_logs
from sockfsm.record.writer import MAX_SIZE
from sockfsm.run.housekeeping import Housekeeping
from sockfsm.run.signals import Relay
from sockfsm.run.tidy import tidy
from sockfsm.trace.trace import Trace
from sockfsm.tracer import packets
from sockfsm.tracer.about import About

if TYPE_CHECKING:
    from sockfsm.wire.capture import Capture
    from sockfsm.wire.kernel_states import KernelStates

_STARTUP = Path(__file__).resolve().parent.parent / "startup"
_NO_ROOM = (EAGAIN, EMFILE, ENFILE, ENOMEM)
_HURRY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Options:
    """How to trace.

    own_network: run in a network namespace of its own, where capturing needs no root; done as well if
    capturing is not permitted otherwise. kernel_states: record the kernel's own TCP states; None: if
    packets are captured and it is permitted. payload: keep whole packets. interface: the one to
    capture. max_size: the most bytes on disk, for the calls and again for the packets.
    """

    mode: str = "observe"
    capture: bool = True
    all_packets: bool = False
    own_network: bool = False
    kernel_states: bool | None = None
    payload: bool = False
    interface: str = "lo"
    max_size: int = MAX_SIZE


def supervise(command: Sequence[str], folder: Path, options: Options) -> int:
    """Run `command`, traced into `folder`. Returns its return code, negative for a signal.

    UsageError if the command cannot be started.
    """
    run = _Run(folder, options)
    run.about.add(command=list(command), mode=options.mode, max_size=options.max_size)
    run.begin()
    relay = Relay()
    try:
        child = subprocess.Popen(
            command,
            env=environment(folder, options),
            preexec_fn=relay.prepare,
            close_fds=False,
        )
    except (OSError, subprocess.SubprocessError, MemoryError) as error:
        relay.restore()
        run.finish()
        if getattr(error, "errno", ENOMEM) not in _NO_ROOM:
            raise UsageError(f"{command[0]}: cannot be run: {error}") from None
        report(f"no second process ({error}): the program takes ours, only its calls are traced")
        os.execve(command[0], list(command), environment(folder, options))
    run.keep_house()
    code = relay.wait(child)
    relay.drop()
    with _in_a_hurry(relay):
        run.end(code)
    relay.restore()
    return code


class _Run:
    """Records packets and kernel states beside a program, and keeps its trace in order."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.trace = Trace(folder)
        self.options = options
        self.about = About(self.trace, report)
        self.capture: Capture | None = None
        self.states: KernelStates | None = None
        self.alone = False
        self.chores: Housekeeping | None = None

    def begin(self) -> None:
        options = self.options
        if options.kernel_states or (options.kernel_states is None and options.capture):
            with _harmless("no kernel states"):
                self.states = packets.begin_states(report if options.kernel_states else None)
        if options.own_network or (options.capture and options.interface == "lo"):
            self.alone = self._enter_network()
        if options.capture:
            with _harmless("no packets"):
                self.capture = packets.begin(
                    self.trace,
                    report,
                    about=self.about,
                    payload=options.payload,
                    interface=options.interface,
                    fork=True,
                    all_packets=options.all_packets,
                    max_size=options.max_size,
                )

    def keep_house(self) -> None:
        """Begin the chores that run beside the program."""
        chores: dict[str, Callable[[], None]] = {
            "logs": partial(tidy, self.trace, self.options.max_size)
        }
        if self.states is not None:
            chores["kernel states"] = partial(self.states.drain, partial(packets.whose, self.trace))
        self.chores = Housekeeping(chores, report)

    def _enter_network(self) -> bool:
        """Enter a network of our own if asked to, or if packets need it. Returns whether we did."""
        from sockfsm.wire import namespace

        if self.options.own_network:
            meaning = namespace.enter()
            report(meaning)
        else:
            meaning = namespace.enter_to_capture(report)
        if meaning:
            self.about.add(network=meaning)
        return bool(meaning)

    def end(self, code: int) -> None:
        """Complete the trace after the program's end."""
        if self.chores is not None:
            self.chores.stop()
        with _harmless("the logs are not put in order"):
            tidy(self.trace, self.options.max_size)
        self.finish()
        self.about.add(status=code)
        with _harmless("which logs there are is not written down"):
            names = [log.name for log in all_logs(self.trace.path, [])]
            self.about.add(logs=names)
        with _harmless("what the trace lacks is not known"):
            self._say_what_is_missing()
        if self.alone and code > 0:
            report("the program had no network but its own loopback; for the host's: --no-capture")

    def _say_what_is_missing(self) -> None:
        """Report what is missing. The traced processes do not: their output is the program's."""
        _ = self.trace.heads  # reads the beginning of each log, which finds what is lost
        # What packets and kernel states lack was reported when their recording ended or failed.
        told = {lost.text for lost in self.trace.facts.losses}
        missing = [line for line in self.trace.problems if line not in told]
        if missing:
            others = f" ({len(missing) - 1} more: sockfsm show)" if len(missing) > 1 else ""
            report(f"the trace is incomplete: {missing[0]}{others}")

    def finish(self) -> None:
        """Stop recording packets and kernel states."""
        if self.states is not None:
            with _harmless("the kernel's states are not written"):
                packets.finish_states(self.states, self.trace, self.about, report)
        if self.capture is not None:
            with _harmless("the packets are not put in order"):
                packets.finish(
                    self.capture,
                    self.trace,
                    report,
                    about=self.about,
                    all_packets=self.options.all_packets,
                )


class _HurryError(Exception):
    """A signal asked us to end at once."""


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    """Report any failure in the block: it must not affect the program or its exit status."""
    try:
        yield
    except _HurryError:
        raise
    except Exception as error:  # noqa: BLE001
        report(f"{what}: {error}")


@contextmanager
def _in_a_hurry(relay: Relay) -> Iterator[None]:
    """Signals that come after the program's end stop the work in the block, and do nothing else."""

    def hurry(*_: object) -> None:
        raise _HurryError

    ours = [n for n in _HURRY if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hurry) for number in ours}
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        yield
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    except _HurryError:
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        report("interrupted while the trace was put in order: its file has others' packets, too")
    relay.drop()
    for number, handler in before.items():
        signal.signal(number, handler)


def environment(folder: Path, options: Options) -> dict[str, str]:
    """The program's environment: every Python that it starts runs our `sitecustomize`."""
    paths = [str(_STARTUP), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SOCKFSM_TRACE": str(folder),
        "SOCKFSM_MODE": options.mode,
        "SOCKFSM_MAX_SIZE": str(options.max_size),
    }


_open_at_start = sys.stderr is not None


def report(line: str) -> None:
    """Print a line to standard error, if possible: it may be closed or full.

    Not through Python's buffer: it would try again at exit, and change our exit status.
    """
    if not _open_at_start:
        return  # descriptor 2 may be any file now
    data = f"sockfsm: {line}\n".encode(errors="backslashreplace")
    try:
        os.write(2, data)
    except OSError:
        return  # nobody is there to read it
