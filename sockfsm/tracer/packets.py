"""Packets beside the calls: begins and ends the capture that belongs to a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sockfsm.trace.endpoints import Endpoints
from sockfsm.trace.trace import ABOUT, PACKETS, Trace

if TYPE_CHECKING:
    from sockfsm.wire.capture import Capture
    from sockfsm.wire.kernel_states import KernelStates


def begin(
    trace: Trace,
    report: Callable[[str], None],
    *,
    payload: bool = False,
    interface: str = "lo",
    fork: bool = False,
) -> Capture | None:
    """Start capturing into the trace; None where that is not permitted, after one line of why.

    payload: keep whole packets, not only their headers. fork: as for `Capture.start`.
    """
    from sockfsm.wire.capture import EVERYTHING, HEADERS, Capture, CaptureError

    try:
        snap = EVERYTHING if payload else HEADERS
        return Capture.start(trace.path / PACKETS, interface=interface, snap=snap, fork=fork)
    except CaptureError as error:
        report(f"no packets: {error}")
        describe(trace, capture=f"no packets: {error}")
        return None


def finish(capture: Capture, trace: Trace, traced: Endpoints | None) -> None:
    """End the capture; what the kernel dropped is written into the trace.

    traced: whose packets are kept; None: all.
    """
    summary = capture.stop()
    describe(trace, capture=str(summary), clock_error=summary.clock_error)
    if traced is not None:
        from sockfsm.wire.headers import Decoder
        from sockfsm.wire.thin import keep

        decoder = Decoder()
        keep(
            trace.path / PACKETS,
            lambda frame: traced.has(decoder.decode(frame) or decoder.quoted(frame)),
        )


def begin_states(trace: Trace, report: Callable[[str], None] | None) -> KernelStates | None:
    """Record the kernel's own TCP states beside the packets; None, after one line, if it may not.

    report: None where nobody asked for them.
    """
    from sockfsm.wire.kernel_states import KernelStates, KernelStatesError

    try:
        return KernelStates.start()
    except KernelStatesError as error:
        if report is not None:
            report(f"no kernel states: {error}")
        return None


def finish_states(
    states: KernelStates, trace: Trace, traced: Endpoints, report: Callable[[str], None]
) -> None:
    """Write what the kernel told of traced sockets into the trace."""
    from sockfsm.wire.kernel_states import FILE, KernelState, KernelStatesError

    def wanted(life: list[KernelState]) -> bool:
        return any(traced.holds("tcp", *end) for s in life for end in (s.source, s.target))

    try:
        changes, lost = states.stop(trace.path / FILE, wanted)
    except KernelStatesError as error:
        report(str(error))
        return
    describe(trace, kernel_states=f"{changes} changes of state, {lost} lost")


def describe(trace: Trace, **facts: Any) -> None:
    """Add facts to what the trace says about itself. OSError when it cannot be written."""
    about = {**trace.about, **facts}
    (trace.path / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
