"""What the handshake inspector finds out about a connection, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from sockfsm.events import Cause, Endpoint, Packet
from sockfsm.wire.headers import TcpOptions

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
    wire. relative_seq, relative_ack: counted from each side's first sequence number. window: bytes,
    scaled where both SYNs were captured and offer scaling. length: payload bytes. offered: a SYN's
    options. packet: as captured. cause: why it was sent, where a trace tells.
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
    offered: TcpOptions | None
    packet: Packet = field(repr=False, compare=False)
    cause: Cause | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Opening:
    """How a connection was opened.

    kind: a key of OPENINGS; only the calls of a trace can tell `not accepted`. round_trip: ns from the
    last SYN to the ACK that completes the opening, None where it was not completed. tries: how many
    SYNs the client sent. note: a remark in words, or ''.
    """

    kind: str
    segments: tuple[Segment, ...]
    round_trip: int | None
    tries: int
    note: str = ""


@dataclass(frozen=True)
class Direction:
    """The data of one direction.

    bytes: payload, each byte counted once. segments: those with payload. packets: all of them.
    retransmitted: segments without new bytes. late: segments that fill a gap, because they were
    reordered or their first copy was lost before the capture. missing: bytes that were not captured.
    zero_windows: how often this end closed its receive window. first, last: times of the first and the
    last data, in ns since the connection began; None without data.
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
    """How a connection was closed.

    kind: a key of CLOSINGS. first: the end that closed first. order: the ends that sent FIN, in order.
    fin_segments: 3 when the second FIN carries the acknowledgement of the first, else 4. half_close:
    ns between the FINs. half_close_bytes: bytes sent between them. half_close_segments: data segments
    after the first FIN that are not among `segments`. reset_by, reset_cause: the end that sent RST,
    and the probable reason. time_wait: the ends that must stay in TIME-WAIT. complete: every FIN was
    acknowledged. left_out: further segments of the closing, of which only the number is kept. note: a
    remark in words, or ''.
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

    ignored: unacceptable segments, which their receiver must ignore, such as an RST with a wrong
    sequence number (RFC 5961).
    """

    number: int
    client: Endpoint
    server: Endpoint
    begin: int
    end: int
    opening: Opening
    sent: Direction
    received: Direction
    closing: Closing
    ignored: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Datagrams:
    """UDP between two endpoints; `client` sent first. sent, received: (datagrams, bytes)."""

    client: Endpoint
    server: Endpoint
    begin: int
    end: int
    sent: tuple[int, int]
    received: tuple[int, int]


@dataclass(frozen=True)
class Report:
    """All connections, in the order of their first packets, and all UDP conversations."""

    connections: tuple[Connection, ...]
    conversations: tuple[Datagrams, ...]
