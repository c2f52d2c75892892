"""What is expected of the connections that the programs under traces/programs/ make, in order.

Used for the recordings under traces/ and for what the same programs do now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sockfsm.trace.trace import Trace
from sockfsm.wire.findings import Connection

TRACES = Path(__file__).parent.parent / "traces"

CLIENT, SERVER = ("client",), ("server",)
BOTH = CLIENT + SERVER
LATE = 90_000_000  # ns: longer than a delayed acknowledgement waits


def connections(folder: Path) -> tuple[Connection, ...]:
    """As `sockfsm handshake` shows them, nothing of the capture being lost."""
    trace = Trace.open(folder)
    found = trace.report().connections
    assert lacking(trace) == []
    return found


def lacking(trace: Trace) -> list[str]:
    """What was lost, but for the kernel's states: its buffer has those of the whole machine, and what
    others do can fill it."""
    others = [lost.text for lost in trace.losses if lost.what == "kernel states"]
    return [line for line in trace.problems if line not in others]


@dataclass(frozen=True)
class Verdict:
    """One connection. first: who closed first; segments: of the teardown; bytes: after the first FIN.

    retransmitted, zero_windows: by (client, server). span: the least time that it was half closed.
    kernel: what the kernel's own states tell and the segments do not.
    """

    opening: str
    closing: str
    first: str | None = None
    segments: int | None = None
    bytes: int = 0
    span: int = 0
    reset_by: str | None = None
    cause: str = ""
    time_wait: tuple[str, ...] = ()
    retransmitted: tuple[int, int] = (0, 0)
    zero_windows: tuple[int, int] = (0, 0)
    tries: int = 1
    ignored: int = 0
    note: str = ""
    kernel: str = ""

    def differs(self, found: Connection) -> str:
        """What is not as expected, with what was found; '' when all is."""
        opening, closing = found.opening, found.closing
        pairs = {
            "opening": (self.opening, opening.kind),
            "closing": (self.closing, closing.kind),
            "first": (self.first, closing.first),
            "segments": (self.segments, closing.fin_segments),
            "bytes": (self.bytes, closing.half_close_bytes),
            "reset_by": (self.reset_by, closing.reset_by),
            "cause": (self.cause, closing.reset_cause),
            "time_wait": (self.time_wait, closing.time_wait),
            "retransmitted": (
                self.retransmitted,
                (found.sent.retransmitted, found.received.retransmitted),
            ),
            "zero_windows": (
                self.zero_windows,
                (found.sent.zero_windows, found.received.zero_windows),
            ),
            "tries": (self.tries, opening.tries),
            "ignored": (self.ignored, len(found.ignored)),
            "span": (True, (closing.half_close or 0) >= self.span),
            "note": (self.note, opening.note or closing.note),
        }
        return ", ".join(
            f"{name}: {got!r} instead of {expected!r}"
            for name, (expected, got) in pairs.items()
            if got != expected
        )


GAVE_UP = "client: gave up without a segment; by the segments it is "
SCANS = "it had given up, or scans ports: no socket waits for the SYN-ACK"
CLOSED_LISTENER = "the listening socket was closed before accept"

VERDICTS: dict[str, tuple[Verdict, ...]] = {
    "openings": (
        Verdict("normal", "orderly", "server", 3, time_wait=SERVER),
        Verdict("normal", "orderly", "server", 3, time_wait=SERVER),
        Verdict("refused", "none", reset_by="server", cause="nothing listens on that port"),
        Verdict("not accepted", "reset", "client", reset_by="server", cause=CLOSED_LISTENER),
        Verdict("self-connect", "simultaneous", "client", time_wait=CLIENT),
        Verdict("not accepted", "reset", "client", reset_by="server", cause=CLOSED_LISTENER),
        Verdict("timed out", "none", tries=2, retransmitted=(1, 0), kernel=f"{GAVE_UP}SYN-SENT"),
    ),
    "openings-lost": (
        Verdict(
            "normal",
            "orderly",
            "server",
            3,
            time_wait=SERVER,
            tries=2,
            retransmitted=(1, 0),
            note="2 SYNs were needed: the first was lost, or the accept queue was full",
        ),
        Verdict(
            "normal",
            "orderly",
            "server",
            3,
            time_wait=SERVER,
            retransmitted=(0, 1),
            note="SYN-ACK again after the ACK: that was lost, or the server's accept queue is full",
        ),
        Verdict("reset", "none", reset_by="client", cause=SCANS, retransmitted=(0, 1)),
        Verdict("timed out", "none", tries=3, retransmitted=(2, 0), kernel=f"{GAVE_UP}SYN-SENT"),
        Verdict("not accepted", "reset", "server", reset_by="server", cause=CLOSED_LISTENER),
    ),
    "closings": (
        Verdict("normal", "orderly", "client", 3, time_wait=CLIENT),
        Verdict("normal", "orderly", "server", 3, time_wait=SERVER),
        Verdict("normal", "orderly", "client", 4, bytes=8, span=LATE, time_wait=CLIENT),
        Verdict("normal", "orderly", "server", 4, bytes=8, span=LATE, time_wait=SERVER),
        Verdict("normal", "open"),
        Verdict("normal", "half-closed", "client"),
    ),
    "closings-lost": (
        Verdict("normal", "orderly", "client", 3, time_wait=CLIENT, retransmitted=(1, 0)),
        Verdict(
            "normal", "orderly", "client", 3, time_wait=CLIENT, retransmitted=(1, 0), span=LATE
        ),
        Verdict(
            "normal", "orderly", "server", 3, time_wait=SERVER, retransmitted=(0, 1), span=LATE
        ),
        Verdict("normal", "orderly", "client", 3, time_wait=CLIENT, retransmitted=(0, 1)),
        Verdict("normal", "simultaneous", "client", 4, time_wait=BOTH, retransmitted=(1, 0)),
    ),
    "resets": (
        Verdict(
            "normal",
            "reset",
            "server",
            reset_by="server",
            cause="closed with 10 received bytes unread",
        ),
        Verdict(
            "normal",
            "reset",
            "client",
            reset_by="client",
            cause="closed with SO_LINGER 0: nothing was left unread",
        ),
        Verdict(
            "normal",
            "reset",
            "client",
            reset_by="client",
            cause="closed with received data unread, after its own FIN",
        ),
        Verdict(
            "normal",
            "reset",
            "server",
            reset_by="server",
            cause="data came after this end had closed: no socket is left to take it",
        ),
        Verdict("not accepted", "reset", "server", reset_by="server", cause=CLOSED_LISTENER),
        Verdict(
            "normal",
            "reset",
            "client",
            reset_by="client",
            cause="its process ended with 10 received bytes unread",
        ),
    ),
    "zero-windows": (
        Verdict("normal", "orderly", "server", 3, time_wait=SERVER, zero_windows=(1, 1)),
    ),
    # Each end is a host of its own for the other: the device shows the connection from both sides.
    "simultaneous": (
        Verdict("simultaneous", "simultaneous", "client", 4, time_wait=BOTH),
        Verdict("simultaneous", "simultaneous", "client", 4, time_wait=BOTH),
    ),
    "hand-made-peer": (
        Verdict(
            "timed out",
            "none",
            tries=2,
            retransmitted=(1, 0),
            ignored=4,
            note="a SYN-ACK acknowledged what was never sent: the client answered RST and waited on",
            kernel=f"{GAVE_UP}SYN-SENT",
        ),
        Verdict("reset", "none", reset_by="server", cause=SCANS, note="both ends had sent a SYN"),
        Verdict("simultaneous", "simultaneous", "client", 4, time_wait=BOTH),
        Verdict("normal", "orderly", "client", 3, time_wait=CLIENT, zero_windows=(0, 1)),
        Verdict("normal", "orderly", "client", 3, time_wait=CLIENT, ignored=5),
        Verdict(
            "normal",
            "open",
            retransmitted=(2, 0),
            note="what the client sent last was sent again 2 times and never acknowledged",
            kernel=f"{GAVE_UP}ESTABLISHED",
        ),
        Verdict("reset", "none", reset_by="client", cause=SCANS),
    ),
}
