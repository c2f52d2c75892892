"""Packets beside the calls: begins and ends the capture that belongs to a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sockfsm.errors import TraceError
from sockfsm.events import Lost
from sockfsm.record.writer import MAX_SIZE
from sockfsm.trace.causes import SLACK
from sockfsm.trace.packet_filter import PacketFilter
from sockfsm.trace.trace import PACKETS, Trace
from sockfsm.tracer.about import About

if TYPE_CHECKING:
    from sockfsm.wire.capture import Capture, CaptureSummary
    from sockfsm.wire.kernel_states import KernelState, KernelStates

_KEEPER = "sockfsm.trace.keeping:so_far"


def begin(
    trace: Trace,
    report: Callable[[str], None],
    *,
    about: About | None = None,
    payload: bool = False,
    interface: str = "lo",
    fork: bool = False,
    all_packets: bool = False,
    max_size: int = MAX_SIZE,
) -> Capture | None:
    """Start capturing into the trace; None where that is not possible, after one line of why.

    payload: keep whole packets, not only their headers. fork: as for `Capture.start`. all_packets:
    those of strangers too. max_size: bytes that they may take on disk.
    """
    from sockfsm.wire.capture import EVERYTHING, HEADERS, Capture, CaptureError

    about = about or About(trace, report)
    try:
        capture = Capture.start(
            trace.path / PACKETS,
            interface=interface,
            snap=EVERYTHING if payload else HEADERS,
            fork=fork,
            limit=max_size,
            keeper="" if all_packets else _KEEPER,
        )
    except CaptureError as error:
        report(f"no packets: {error}")
        about.add(capture=f"no packets: {error}")
        about.lack("packets", [_lost("packets", 0, f"no packets: {error}", str(error))])
        return None
    if not all_packets:
        about.add(strangers=True)  # until `finish` has left them out
    return capture


def finish(
    capture: Capture,
    trace: Trace,
    report: Callable[[str], None],
    *,
    about: About | None = None,
    all_packets: bool = False,
) -> None:
    """End the capture, and tell what became of it: into the trace, and what is lost to `report`.

    all_packets: keep those of strangers too.
    """
    from dataclasses import replace

    from sockfsm.trace.keeping import traced
    from sockfsm.wire.thin import keep

    about = about or About(trace, report)
    summary = capture.stop()
    about.add(capture=str(summary), clock_error=summary.clock_error)
    about.lack("packets", list(_losses(summary)))
    if not all_packets:
        slack = max(SLACK, summary.clock_error)
        try:
            wanted = traced(PacketFilter(trace.calls(), slack), summary.clock)
            kept, left = keep(trace.path / PACKETS, wanted)
        except (TraceError, OSError) as error:
            report(f"the packets of others are not left out: {error}")
        else:
            summary = replace(summary, packets=kept, left=summary.left + left)
            about.add(capture=str(summary), strangers=False)
            about.lack("packets", list(_losses(summary)))
    if summary.problem:
        report(f"packets: {summary.problem}")


def _lost(what: str, count: int, text: str, why: str) -> Lost:
    return Lost(what, PACKETS if what == "packets" else "", count, not count, 0, 0, why, text)


def _losses(summary: CaptureSummary) -> Iterator[Lost]:
    if summary.dropped:
        text = f"packets: {summary.dropped} lost by the kernel"
        yield _lost("packets", summary.dropped, text, "no room in the kernel's ring")
    if summary.unwritten or summary.problem:
        why = summary.problem or "not written"
        text = f"packets: {f'{summary.unwritten} lost; ' if summary.unwritten else ''}{why}"
        yield _lost("packets", summary.unwritten, text, why)
    if summary.old:
        text = f"packets: the oldest {summary.old} left out to stay within --max-size"
        yield _lost("packets", summary.old, text, "--max-size")


def begin_states(report: Callable[[str], None] | None) -> KernelStates | None:
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
    states: KernelStates, trace: Trace, about: About, report: Callable[[str], None]
) -> None:
    """Write what the kernel told of traced sockets into the trace."""
    from sockfsm.wire.kernel_states import FILE, KernelStatesError

    try:
        told = states.stop(trace.path / FILE, whose(trace))
    except KernelStatesError as error:
        report(str(error))
        about.add(kernel_states=str(error))
        about.lack("kernel states", [_lost("kernel states", 0, str(error), str(error))])
        return
    about.add(kernel_states=str(told))
    losses = []
    if told.lost:
        text = f"{told.lost} of the kernel's changes of state were lost"  # as who reads them says
        losses.append(_lost("kernel states", told.lost, text, "no room in the kernel's buffer"))
    if told.old:
        text = f"kernel states: the oldest {told.old} left out"
        losses.append(_lost("kernel states", told.old, text, "too many for the memory"))
    about.lack("kernel states", losses)


def whose(trace: Trace) -> Callable[[list[KernelState]], bool]:
    """Whether one of the changes of a kernel's socket is a traced socket's, as far as is known."""
    ours = PacketFilter(trace.calls(), SLACK)

    def wanted(life: list[KernelState]) -> bool:
        return any(ours.traced(s.source, s.target, s.time) for s in life)

    return wanted
