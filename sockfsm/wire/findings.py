"""The vocabulary of the handshake inspector: what it finds out about a connection, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from sockfsm.trace.events import Cause, Packet
from sockfsm.wire.headers import Options
from sockfsm.wire.side import End

CLIENT, SERVER = "client", "server"

OPENINGS = {
    "normal": "SYN, SYN-ACK, ACK",
    "not accepted": "complete in the kernel, but no accept took it",
    "refused": "the SYN was answered by RST",
    "reset": "RST before the opening was complete",
    "timed out": "the SYN was repeated and never answered",
    "unanswered": "a SYN, and no answer in the capture",
    "incomplete": "no ACK of the SYN-ACK in the capture",
    "simultaneous": "both ends sent a SYN",
    "self-connect": "the socket is connected to itself",
    "mid-stream": "the capture begins in the middle of the connection",
}
CLOSINGS = {
    "orderly": "FIN both ways",
    "simultaneous": "FIN both ways, each sent before the other one had come",
    "half-closed": "FIN one way only: the other end may still send",
    "reset": "RST",
    "open": "still open when the capture ended",
    "none": "never was open",
}


@dataclass(frozen=True)
class Segment:
    """One packet of an opening or a closing.

    after: ns since the connection's first packet. sender: `client` or `server`. seq, ack: as on the
    wire; relative_*: from each side's first sequence number. window: bytes, scaled where both SYNs
    are known to offer scaling. offered: a SYN's options. packet: as captured. cause: why it was
    sent, of a trace.
    """

    after: int
    sender: str
    flags: str
    seq: int
    ack: int
    relative_seq: int
    relative_ack: int | None
    window: int
    length: int
    offered: Options | None
    packet: Packet = field(repr=False, compare=False)
    cause: Cause | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Opening:
    """How a connection came to be.

    kind: a key of OPENINGS; `not accepted` takes a trace's calls to tell. round_trip: ns from the
    last SYN to the ACK that completes the opening. tries: SYNs that the client sent. note: what
    else the packets tell.
    """

    kind: str
    segments: tuple[Segment, ...]
    round_trip: int | None
    tries: int
    note: str = ""


@dataclass(frozen=True)
class Direction:
    """One direction's data.

    bytes: payload, each byte once. segments: those with payload. packets: all. retransmitted:
    segments that bring nothing new. late: segments that fill a gap (reordered, or the first copy
    was lost before the capture). missing: bytes that the capture does not hold. zero_windows: how
    often this end closed its window. first, last: ns since the connection's begin.
    """

    bytes: int
    segments: int
    packets: int
    retransmitted: int
    late: int
    missing: int
    zero_windows: int
    first: int | None
    last: int | None


@dataclass(frozen=True)
class Closing:
    """How a connection ended.

    kind: a key of CLOSINGS. first: who closed first. order: who sent FIN, in order. fin_segments: 3
    when the second FIN carries the acknowledgement of the first, else 4. half_close: ns between
    the FINs; half_close_bytes: sent between them; half_close_segments: data segments after the
    first FIN that are not among `segments`. reset_by, reset_cause: of an RST. time_wait: who has
    to sit out TIME_WAIT. complete: every FIN was acknowledged. left_out: segments of the closing
    beyond those kept. note: what else the packets tell.
    """

    kind: str
    segments: tuple[Segment, ...]
    first: str | None = None
    order: tuple[str, ...] = ()
    fin_segments: int | None = None
    half_close: int | None = None
    half_close_bytes: int = 0
    half_close_segments: int = 0
    reset_by: str | None = None
    reset_cause: str = ""
    time_wait: tuple[str, ...] = ()
    complete: bool = False
    left_out: int = 0
    note: str = ""


@dataclass(frozen=True)
class Connection:
    """One TCP connection. begin, end: `time` of its first and last packet, ns.

    ignored: segments that their receiver must ignore, such as an RST of a wrong number (RFC 5961).
    """

    number: int
    client: End
    server: End
    begin: int
    end: int
    opening: Opening
    sent: Direction
    received: Direction
    closing: Closing
    ignored: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Datagrams:
    """UDP between two ends; `client` sent the first. sent, received: (datagrams, bytes)."""

    client: End
    server: End
    begin: int
    end: int
    sent: tuple[int, int]
    received: tuple[int, int]


@dataclass(frozen=True)
class Report:
    """All connections in order of their first packet, and all UDP conversations."""

    connections: tuple[Connection, ...]
    conversations: tuple[Datagrams, ...]
