"""No payload byte is kept by default, every header whole: the filter in the kernel, on real frames."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wire_cases
from patience import PATIENCE

from sockfsm.events import Packet
from sockfsm.trace.trace import Trace
from sockfsm.wire import ring, snap
from sockfsm.wire.capture import Capture
from sockfsm.wire.headers import FrameDecoder, options, packets
from sockfsm.wire.pcapng import CaptureFile

SECRET = b"the secret of the house"

PROGRAM = f"""
import socket
for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
    with socket.create_server((host, 0), family=family) as listening:
        client = socket.create_connection(listening.getsockname()[:2])
        data, _ = listening.accept()
    client.sendall({SECRET!r} * 2000)
    read = 0
    while read < {len(SECRET)} * 2000:
        read += len(data.recv(65536))
    client.close(); data.close()
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, 2) as two:
        one.bind((host, 0))
        two.sendto({SECRET!r}, one.getsockname())
        one.recv(99)
        closed = one.getsockname()
        one.close()
        two.sendto({SECRET!r}, closed)  # ICMP quotes it
"""


def recorded(tmp_path: Path, *more: str) -> Trace:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [
        sys.executable,
        "-m",
        "sockfsm",
        "run",
        "-o",
        str(tmp_path / "trace"),
        *more,
        str(program),
    ]
    subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
    return Trace.open(tmp_path / "trace")


def test_no_payload_by_default(tmp_path: Path) -> None:
    trace = recorded(tmp_path)
    path = trace.path / "packets.pcapng"
    assert b"secret" not in path.read_bytes()
    sent = [p for p in trace.packets() if p.length]
    for protocol, host in (("tcp", "127.0.0.1"), ("tcp", "::1"), ("udp", "127.0.0.1")):
        lengths = [p.length for p in sent if (p.protocol, p.source[0]) == (protocol, host)]
        assert sum(lengths) == len(SECRET) * (2000 if protocol == "tcp" else 2)
    # What an ICMP error quotes is there as far as the ports: it belongs to the connection.
    decoder = FrameDecoder()
    quoted = [q for frame in CaptureFile(path) if (q := decoder.quoted(frame))]
    assert {q.protocol for q in quoted} == {"udp"}
    assert {q.source[0] for q in quoted} == {"127.0.0.1", "::1"}


def test_all_of_it_with_the_option(tmp_path: Path) -> None:
    trace = recorded(tmp_path, "--payload")
    assert SECRET * 100 in (trace.path / "packets.pcapng").read_bytes()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", 2), ("::1", socket.AF_INET6)])
def test_tcp_headers_are_whole(tmp_path: Path, host: str, family: int) -> None:
    path = tmp_path / "packets.pcapng"
    with Capture.start(path):
        client, _ = wire_cases.normal(host, family)
    found = [p for p in packets(path) if client in (p.source, p.target)]
    assert len(found) >= 9
    network = 14 + (20 if host == "127.0.0.1" else 40)
    for packet in found:
        header = packet.raw[network + 12] >> 2 & 60
        assert header > 20  # all of them have timestamps
        assert len(packet.raw) == network + header
        assert options(packet).sound
        assert options(packet).timestamps is not None
    assert options(found[0]).mss is not None


class Wire:
    """The filter alone, on a socket that takes any bytes: what it keeps of frames that we make."""

    def __init__(self, link: int = 14) -> None:
        self.link = link
        self.target, self.source = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ring.attach(self.target, snap.headers(link))

    def kept(self, frame: bytes) -> int:
        """Bytes that the filter lets pass; a frame that it drops gives 0."""
        self.source.send(frame)
        if not select.select([self.target], [], [], 0)[0]:
            return 0
        return len(self.target.recv(1 << 16))

    def close(self) -> None:
        for sock in (self.target, self.source):
            sock.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


PAYLOAD = b"payload!" * 40
MACS = bytes(12)


def ipv4(protocol: int, rest: bytes, *, more: bytes = b"", fragment: int = 0) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45 + len(more) // 4, 0, 20 + len(more) + len(rest), 0, fragment, 64,
        protocol, 0, bytes(4), bytes(4),
    )  # fmt: skip
    return head + more + rest


def ipv6(following: int, rest: bytes) -> bytes:
    return struct.pack(">IHBB32x", 6 << 28, len(rest), following, 64) + rest


def tcp(more: bytes = b"") -> bytes:
    return struct.pack(">HHIIHHHH", 1, 2, 3, 4, (20 + len(more)) // 4 << 12, 0, 0, 0) + more


def extension(following: int, size: int) -> bytes:
    return bytes([following, size // 8 - 1]) + bytes(size - 2)


UDP = struct.pack(">HHHH", 1, 2, 8 + len(PAYLOAD), 0)
FRAGMENT = struct.pack(">BBHI", 6, 0, 1, 9)
LATER = struct.pack(">BBHI", 6, 0, 8 << 3, 9)
AUTHENTICATION = bytes([17, 4]) + bytes(22)
ICMP, ICMP6 = bytes([3, 3]) + bytes(6), bytes([1, 4]) + bytes(6)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        (ipv4(6, tcp()), 4),
        (ipv4(6, tcp(bytes(40))), 4),
        (ipv4(6, tcp(bytes(12)), more=bytes(40)), 4),
        (ipv4(17, UDP), 4),
        (ipv4(17, b"", fragment=100), 4),
        (ipv4(132, bytes(8)), 4),
        (ipv4(1, ICMP + ipv4(17, UDP)), 4),
        (ipv4(1, ICMP + ipv4(6, tcp(), more=bytes(8))), 4),
        (ipv4(1, bytes(8)), 4),
        (ipv6(6, tcp()), 6),
        (ipv6(6, tcp(bytes(40))), 6),
        (ipv6(17, UDP), 6),
        (ipv6(0, extension(60, 16) + extension(43, 8) + extension(6, 24) + tcp()), 6),
        (ipv6(44, FRAGMENT + tcp()), 6),
        (ipv6(44, LATER), 6),
        (ipv6(51, AUTHENTICATION + UDP), 6),
        (ipv6(58, ICMP6 + ipv6(17, UDP)), 6),
        (ipv6(58, ICMP6 + ipv6(6, tcp())), 6),
        (ipv6(58, bytes([128]) + bytes(7)), 6),
    ],
    ids=range(19),
)
@pytest.mark.parametrize("link", [14, 0], ids=["ethernet", "raw"])
def test_what_is_kept(headers: bytes, kind: int, link: int) -> None:
    wire = Wire(link)
    ether = (MACS + (b"\x08\x00" if kind == 4 else b"\x86\xdd"))[:link]
    assert wire.kept(ether + headers + PAYLOAD) == len(ether + headers)
    for size in range(link + 1, len(ether + headers)):  # cut short, it is still there
        assert wire.kept((ether + headers)[:size]) == size
    wire.close()


def test_frames_without_ip(wire: Wire) -> None:
    assert wire.kept(MACS + b"\x08\x06" + bytes(28)) == 42
    assert wire.kept(MACS + b"\x12\x34" + PAYLOAD) == 14


def test_a_nonsense_header_length_is_not_lost(wire: Wire) -> None:
    frame = bytearray(MACS + b"\x08\x00" + ipv4(6, tcp()) + PAYLOAD)
    frame[14 + 20 + 12] = 0
    assert wire.kept(bytes(frame)) == 54


def test_it_is_short_enough() -> None:
    """The kernel takes 4,096 instructions, a jump reaches 255."""
    assert len(snap.headers(14, 40000)) // 8 < 255


def test_the_probe_is_kept_and_left_out(tmp_path: Path) -> None:
    """Its payload proves the capture; it is in no file, and no other datagram gets its room."""
    path = tmp_path / "packets.pcapng"
    with Capture.start(path):
        pass
    found: list[Packet] = list(packets(path))
    assert b"sockfsm probe" not in path.read_bytes()
    assert all(len(p.raw) <= 14 + 60 + 60 for p in found)
