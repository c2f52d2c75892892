"""The supervisor: starts the capture, then the program, and puts the trace in order when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sockfsm.errors import UsageError
from sockfsm.run.signals import Relay
from sockfsm.run.tidy import tidy
from sockfsm.trace.endpoints import Endpoints
from sockfsm.trace.trace import Trace
from sockfsm.tracer.packets import begin, begin_states, describe, finish, finish_states

if TYPE_CHECKING:
    from sockfsm.wire.capture import Capture
    from sockfsm.wire.kernel_states import KernelStates

_STARTUP = Path(__file__).resolve().parent.parent / "startup"


def supervise(
    command: Sequence[str],
    folder: Path,
    *,
    mode: str,
    capture: bool,
    all_packets: bool,
    own_network: bool = False,
    kernel_states: bool | None = None,
    payload: bool = False,
    interface: str = "lo",
) -> int:
    """Run `command` traced into `folder`; its return code, negative for a signal.

    own_network: in a network namespace of its own, where capturing needs no root; this is done too
    where capturing is not permitted otherwise. kernel_states: record the kernel's own TCP states
    too; None: beside packets, where that is permitted. payload: keep whole packets. interface: to
    capture. UsageError when the command cannot be started.
    """
    trace = Trace(folder)
    describe(trace, command=list(command), mode=mode)
    states = None
    if kernel_states or (kernel_states is None and capture):
        states = begin_states(trace, _report if kernel_states else None)
    alone = False
    if own_network or (capture and interface == "lo"):
        alone = _alone(trace, asked=own_network)
    running = None
    if capture:
        running = begin(trace, _report, payload=payload, interface=interface, fork=True)
    relay = Relay()
    try:
        child = subprocess.Popen(
            command, env=environment(folder, mode), preexec_fn=relay.restore, close_fds=False
        )
    except OSError as error:
        relay.restore()
        _finish(trace, running, states, all_packets=True)
        raise UsageError(f"{command[0]}: cannot be run: {error.strerror}") from None
    code = relay.wait(child)
    relay.restore()
    tidy(trace)
    _finish(trace, running, states, all_packets=all_packets)
    describe(trace, status=code)
    if alone and code > 0:
        _report("the program had no network but its own loopback; for the host's: --no-capture")
    return code


def _finish(
    trace: Trace, running: Capture | None, states: KernelStates | None, *, all_packets: bool
) -> None:
    """End what was recorded beside the program; its calls are read once for both."""
    if running is None and states is None:
        return
    traced = Endpoints(trace.calls())
    if states is not None:
        finish_states(states, trace, traced, _report)
    if running is not None:
        finish(running, trace, None if all_packets else traced)


def _alone(trace: Trace, *, asked: bool) -> bool:
    """Enter a network of our own if that is asked for, or the only way to packets; whether we did."""
    from sockfsm.wire import namespace

    if asked:
        namespace.enter()
        _report(namespace.MEANING)
    elif not namespace.enter_to_capture(_report):
        return False
    describe(trace, network=namespace.MEANING)
    return True


def environment(folder: Path, mode: str) -> dict[str, str]:
    """The program's environment: every Python that it starts runs our `sitecustomize`."""
    paths = [str(_STARTUP), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SOCKFSM_TRACE": str(folder),
        "SOCKFSM_MODE": mode,
    }


def _report(line: str) -> None:
    print(f"sockfsm: {line}", file=sys.stderr)
