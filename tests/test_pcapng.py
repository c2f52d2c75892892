"""Readers and decoders: against tshark and scapy, on damaged files, and fuzzed."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import subprocess
from itertools import islice
from pathlib import Path

import pytest
import wire_cases
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sockfsm.errors import TraceError
from sockfsm.events import Packet
from sockfsm.views import handshake as view
from sockfsm.views.handshake_json import json_lines
from sockfsm.views.text import Paint
from sockfsm.wire import blocks
from sockfsm.wire.capture import Capture
from sockfsm.wire.dissect import details, dissect
from sockfsm.wire.flows import Flows
from sockfsm.wire.handshake import inspect, inspect_file
from sockfsm.wire.headers import FrameDecoder, options, packets
from sockfsm.wire.pcapng import CaptureFile
from sockfsm.wire.thin import keep

CASES = (
    wire_cases.normal,
    wire_cases.server_closes_first,
    wire_cases.refused,
    wire_cases.half_close,
    wire_cases.linger_reset,
    wire_cases.unread_reset,
    wire_cases.data_after_close,
    wire_cases.never_accepted,
    wire_cases.self_connect,
    wire_cases.zero_window,
    wire_cases.datagrams,
)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wire") / "packets.pcapng"
    with Capture.start(path) as running:
        for case in CASES:
            case()
        wire_cases.normal("::1", socket.AF_INET6)
        assert running.stop().dropped == 0
    return path


def tshark(path: Path, *fields: str, only: str = "tcp or udp") -> list[tuple[str, ...]]:
    command = ["tshark", "-n", "-r", str(path), "-Y", only, "-T", "fields"]
    command += ["-o", "tcp.relative_sequence_numbers:FALSE"]
    for field in fields:
        command += ["-e", field]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [tuple(line.split("\t")) for line in told.splitlines()]


def test_every_header_as_tshark_reads_it(capture: Path) -> None:
    rows = tshark(
        capture,
        "frame.time_epoch",
        "tcp.srcport",
        "tcp.dstport",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
        "tcp.window_size_value",
        "tcp.len",
        only="tcp and not icmp",
    )
    ours = [p for p in packets(capture) if p.protocol == "tcp"]
    assert len(rows) == len(ours) > 80
    for row, packet in zip(rows, ours, strict=True):
        seconds, _, rest = row[0].partition(".")
        assert int(seconds) * 10**9 + int(rest.ljust(9, "0")) == packet.wall
        assert (int(row[1]), int(row[2])) == (packet.source[1], packet.target[1])
        assert (int(row[3]), int(row[6]), int(row[7])) == (
            packet.seq,
            packet.window,
            packet.length,
        )
        if "A" in packet.flags:
            assert int(row[4]) == packet.ack
        bits = sum(1 << "FSRPAUEC".index(letter) for letter in packet.flags)
        assert int(row[5], 16) & 0xFF == bits


def test_connections_as_tshark_counts_them(capture: Path) -> None:
    rows = tshark(capture, "tcp.stream", "tcp.len", "tcp.analysis.initial_rtt", only="tcp")
    theirs: dict[str, list[int]] = {}
    trips: dict[str, float] = {}
    for stream, length, trip in rows:
        entry = theirs.setdefault(stream, [0, 0, 0])
        entry[0] += 1
        entry[1] += int(length) > 0
        entry[2] += int(length)
        if trip:
            trips[stream] = float(trip)
    found = inspect(packets(capture)).connections
    assert len(found) == len(theirs)
    for connection, (stream, (number, segments, size)) in zip(found, theirs.items(), strict=True):
        ways = (connection.sent, connection.received)
        assert sum(way.packets for way in ways) == number
        assert sum(way.segments for way in ways) == segments
        repeated = sum(way.retransmitted for way in ways)
        assert sum(way.bytes for way in ways) == size or repeated
        if connection.opening.kind == "normal":
            assert connection.opening.round_trip is not None
            # tshark tells it in ns too, as seconds.
            assert abs(connection.opening.round_trip / 1e9 - trips[stream]) < 1e-8


def test_frames_and_packets_give_the_same(capture: Path) -> None:
    problems: list[str] = []
    report = inspect(packets(capture))
    assert inspect_file(capture, problems) == report
    port = report.connections[0].client[1]
    (one,) = inspect_file(capture, problems, port).connections
    assert one == report.connections[0]
    assert problems == []


def test_whole_datagrams_are_no_segments() -> None:
    """Without their payload they are shorter than TCP's headers, with it they are not."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    datagram = UDP(sport=7, dport=9) / bytes(100)
    sent = [bytes(IP(src="1.2.3.4", dst="5.6.7.8") / datagram), bytes(IPv6() / datagram)]
    found = Flows().add_frames([(1, 101, data, len(data)) for data in sent * 2], FrameDecoder())
    assert found.flows == []
    assert [(talk.datagrams, talk.bytes) for talk in found.conversations] == [
        ([2, 0], [200, 0])
    ] * 2


def test_options_as_scapy_reads_them(capture: Path) -> None:
    from scapy.layers.inet import TCP

    syns = [p for p in packets(capture) if "S" in p.flags]
    assert len(syns) > 15
    for packet in syns:
        offered = options(packet)
        theirs = dict(dissect(packet.link, packet.raw)[TCP].options)
        assert offered.mss == theirs["MSS"]
        assert offered.scale == theirs["WScale"]
        assert offered.timestamps == theirs["Timestamp"]
        assert offered.sack == ("SAckOK" in theirs)
        assert "###[ TCP ]###" in details(packet)


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_of_file(capture: Path, tmp_path: Path, form: str, packed: bool) -> None:
    path = tmp_path / "other"
    subprocess.run(["editcap", "-F", form, capture, path], check=True)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    unit = 1000 if form == "pcap" else 1
    ours = [p._replace(time=0, wall=p.wall // unit * unit) for p in packets(capture, 0)]
    assert [p._replace(time=0) for p in packets(path, 0)] == ours


def frames() -> list[tuple[int, bytes]]:
    """The same TCP segment on every link type, as scapy builds it."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback

    segment = TCP(sport=7, dport=9, seq=5, flags="PA", ack=3, window=11) / b"abc"
    four = IP(src="1.2.3.4", dst="5.6.7.8") / segment
    six = IPv6(src="fe80::1", dst="fe80::2") / IPv6ExtHdrDestOpt() / segment
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return [
        (1, bytes(ether / four)),
        (1, bytes(ether / six)),
        (1, bytes(ether / Dot1Q(vlan=3) / four)),
        (0, bytes(Loopback() / four)),
        (101, bytes(four)),
        (101, bytes(six)),
        (228, bytes(four)),
        (229, bytes(six)),
        (113, bytes(CookedLinux(proto=0x800) / four)),
        (276, bytes(CookedLinuxV2(proto=0x86DD) / six)),
    ]


def test_every_link_type() -> None:
    decoder = FrameDecoder()
    for link, data in frames():
        packet = decoder.decode((1, link, data, len(data)))
        assert packet is not None, link
        hosts = (packet.source[0], packet.target[0])
        assert hosts in (("1.2.3.4", "5.6.7.8"), ("fe80::1", "fe80::2"))
        assert (packet.source[1], packet.target[1], packet.length) == (7, 9, 3)
        assert (packet.flags, packet.seq, packet.ack, packet.window) == ("PA", 5, 3, 11)


def test_a_link_type_that_only_scapy_knows() -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.ppp import PPP

    data = bytes(PPP() / IP(src="1.2.3.4", dst="5.6.7.8") / TCP(sport=7, dport=9))
    packet = FrameDecoder().decode((1, 9, data, len(data)))
    assert packet is not None
    assert packet.source == ("1.2.3.4", 7)


def test_what_an_icmp_error_quotes() -> None:
    from scapy.layers.inet import ICMP, IP, UDP
    from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
    from scapy.layers.l2 import Ether

    datagram = UDP(sport=7, dport=9) / b"hello"
    quotes = [
        IP() / ICMP(type=3, code=3) / IP(src="1.2.3.4", dst="5.6.7.8") / datagram,
        IPv6() / ICMPv6DestUnreach() / IPv6(src="fe80::1", dst="fe80::2") / datagram,
    ]
    for quote in quotes:
        data = bytes(Ether() / quote)
        found = FrameDecoder().quoted((1, 1, data, len(data)))
        assert found is not None
        assert (found.source[1], found.target[1], found.length) == (7, 9, 5)
    for other in (IP() / ICMP() / (b"x" * 60), IPv6() / ICMPv6EchoRequest(data=b"x" * 60)):
        data = bytes(Ether() / other)
        assert FrameDecoder().quoted((1, 1, data, len(data))) is None


def write(path: Path, records: list[tuple[int, bytes]], *, order: str = "<") -> None:
    """A classic pcap file, microseconds."""
    head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    body = b"".join(
        struct.pack(order + "IIII", wall // 10**9, wall % 10**9 // 1000, len(data), len(data))
        + data
        for wall, data in records
    )
    path.write_bytes(head + body)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    link, data = frames()[0]
    path = tmp_path / "file.pcap"
    write(path, [(5_000_001_000, data)], order=order)
    (packet,) = packets(path, 0)
    assert (packet.time, packet.link, packet.raw) == (5_000_001_000, link, data)


def test_big_endian_pcapng(tmp_path: Path) -> None:
    data = frames()[0][1]
    body = struct.pack(">IHHq", blocks.MAGIC, 1, 0, -1)
    head = struct.pack(">II", blocks.SECTION, 28) + body + struct.pack(">I", 28)
    interface = struct.pack(">IIHHII", 1, 20, 1, 0, 65535, 20)
    total = 32 + len(data) + -len(data) % 4
    packet = struct.pack(">IIIIIII", 6, total, 0, 0, 7, len(data), len(data))
    packet += data + bytes(-len(data) % 4) + struct.pack(">I", total)
    path = tmp_path / "big.pcapng"
    path.write_bytes(head + interface + packet)
    (found,) = packets(path, 0)
    assert (found.wall, found.raw) == (7000, data)


def test_cut_file_is_read_to_the_cut(capture: Path, tmp_path: Path) -> None:
    whole = list(packets(capture))
    data = capture.read_bytes()
    path = tmp_path / "cut.pcapng"
    for size in range(len(data) - 200, len(data) - 100, 7):
        path.write_bytes(data[:size])
        problems: list[str] = []
        found = list(packets(path, None, problems))
        assert found == whole[: len(found)]
        assert len(found) >= len(whole) - 3
        assert len(problems) <= 1
        assert all("ends in the middle of a packet at byte" in line for line in problems)
    path.write_bytes(gzip.compress(data)[:-20])
    problems = []
    assert list(packets(path, None, problems))
    assert len(problems) == 1


def test_damaged_block_is_named(capture: Path, tmp_path: Path) -> None:
    whole = list(packets(capture))
    data = bytearray(capture.read_bytes())
    place = data.index(whole[20].raw) - 28
    data[place + 4 : place + 8] = b"\xff\xff\xff\xff"
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(data)
    problems: list[str] = []
    assert list(packets(path, None, problems)) == whole[:20]
    assert problems == [f"damaged block at byte {place}"]


def test_no_capture_at_all(tmp_path: Path) -> None:
    for content in (b"", b"text", b"\x1f\x8b" + b"x" * 30):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(TraceError):
            list(packets(path))
    with pytest.raises(TraceError, match="No such file"):
        list(packets(tmp_path / "missing"))


def test_keep_only_some(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "packets.pcapng"
    path.write_bytes(capture.read_bytes())
    whole = list(packets(path))
    port = whole[0].source[1]
    decoder = FrameDecoder()

    def wanted(frame: tuple[int, int, bytes, int]) -> bool:
        packet = decoder.decode(frame)
        return packet is not None and port in (packet.source[1], packet.target[1])

    before = CaptureFile(path).clock
    kept, left = keep(path, wanted)
    mine = [p for p in whole if port in (p.source[1], p.target[1])]
    assert list(packets(path)) == mine
    assert kept == len(mine)
    assert kept + left >= len(whole)
    source = CaptureFile(path)
    assert list(source)
    assert (source.clock, source.complete, source.dropped) == (before, True, 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_ports_used_again_are_two_connections(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    def frame(flags: str, seq: int, ack: int, back: bool = False) -> bytes:
        source, target = (80, 1000) if back else (1000, 80)
        return bytes(
            Ether() / IP() / TCP(sport=source, dport=target, flags=flags, seq=seq, ack=ack)
        )

    story = []
    for first in (100, 5000):
        story += [
            frame("S", first, 0),
            frame("S", first, 0),
            frame("SA", 900, first + 1, True),
            frame("A", first + 1, 901),
            frame("RA", first + 1, 901),
        ]
    path = tmp_path / "again.pcap"
    write(path, [(10**9 * number, data) for number, data in enumerate(story, 1)])
    found = inspect(packets(path)).connections
    assert [c.opening.segments[0].seq for c in found] == [100, 5000]
    assert [c.opening.tries for c in found] == [2, 2]


def test_sequence_numbers_wrap(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    top = 0xFFFFFFFF
    story = [
        Ether() / IP() / TCP(sport=1, dport=2, flags="S", seq=top - 1),
        Ether() / IP() / TCP(sport=2, dport=1, flags="SA", seq=7, ack=top),
        Ether() / IP() / TCP(sport=1, dport=2, flags="A", seq=top, ack=8),
        Ether() / IP() / TCP(sport=1, dport=2, flags="PA", seq=top, ack=8) / (b"x" * 10),
        Ether() / IP() / TCP(sport=1, dport=2, flags="PA", seq=9, ack=8) / (b"x" * 10),
        Ether() / IP() / TCP(sport=1, dport=2, flags="FA", seq=19, ack=8),
    ]
    path = tmp_path / "wrap.pcap"
    write(path, [(number, bytes(frame)) for number, frame in enumerate(story)])
    (connection,) = inspect(packets(path)).connections
    assert (connection.sent.bytes, connection.sent.retransmitted) == (20, 0)
    assert connection.sent.missing == 0
    assert connection.closing.segments[0].relative_seq == 21


# -- fuzz: no crash, no hang, no unbounded memory --------------------------------------------------

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


def all_the_way(path: Path) -> None:
    problems: list[str] = []
    try:
        report = inspect(packets(path, None, problems))
    except TraceError:
        return
    assert inspect_file(path) == report
    for frame in CaptureFile(path):
        FrameDecoder().quoted(frame)
    text = list(view.lines(report, Paint(False), problems))
    assert all(line.isprintable() for line in text)
    assert max(map(len, text)) <= 250
    json.loads("".join(json_lines(report, problems)))


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a"]))
def test_fuzz_nonsense(tmp_path: Path, data: bytes, magic: bytes) -> None:
    path = tmp_path / "nonsense"
    path.write_bytes(magic + data)
    all_the_way(path)


@FUZZ
@given(st.data())
def test_fuzz_damage(capture: Path, tmp_path: Path, data: st.DataObject) -> None:
    """A real capture with some bytes changed, taken out or doubled."""
    content = bytearray(capture.read_bytes()[:6000])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "double"]))
        if what == "change":
            content[place : place + 4] = data.draw(st.binary(min_size=4, max_size=4))
        elif what == "cut":
            del content[place : place + data.draw(st.integers(1, 50))]
        else:
            content[place:place] = content[place : place + 40]
        if not content:
            break
    path = tmp_path / "damaged"
    path.write_bytes(content)
    all_the_way(path)


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 0, 101, 113, 276, 228, 229, 108]),
            st.one_of(st.binary(max_size=120), st.sampled_from([d for _, d in frames()])),
            st.binary(max_size=24),
            st.integers(0, 60),
        ),
        max_size=12,
    )
)
@example([(1, frames()[0][1], b"\x60\x12\x00\x00", 46)])
def test_fuzz_headers(tmp_path: Path, records: list[tuple[int, bytes, bytes, int]]) -> None:
    path = tmp_path / "headers.pcapng"
    links = sorted({link for link, *_ in records})
    content = blocks.section("fuzz") + b"".join(blocks.interface(link, 0) for link in links)
    for time, (link, data, patch, place) in enumerate(records):
        frame = data[:place] + patch + data[place + len(patch) :]
        content += blocks.packet(links.index(link), time, frame, len(frame))
    path.write_bytes(content)
    all_the_way(path)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, 90), st.binary(max_size=4), st.integers(0, 120)), max_size=12)
)
def test_many_at_once_are_as_each_alone(
    capture: Path, tmp_path: Path, patches: list[tuple[int, bytes, int]]
) -> None:
    """Frames of our capture (TCP, UDP, IPv4, IPv6), also patched and cut, in blocks as ours are."""
    frames = list(islice(CaptureFile(capture), 0, None, 5))
    for place, patch, size in patches:
        wall, link, data, length = frames[place % len(frames)]
        data = data[:place] + patch + data[place + len(patch) :]
        frames.append((wall, link, data[:size], length))
    path = tmp_path / "frames.pcapng"
    content = blocks.section("") + blocks.interface(1, 0)
    content += b"".join(blocks.packet(0, wall, data, size) for wall, _, data, size in frames)
    path.write_bytes(content)
    decoder = FrameDecoder()
    each = [packet for frame in CaptureFile(path) if (packet := decoder.decode(frame))]
    assert list(packets(path, 0)) == each
    assert len(each) > 20


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "SF", "", "FSRPAUEC"]),
            st.integers(0, 3) | st.integers(0, 2**32 - 1),
            st.integers(0, 3) | st.integers(0, 2**32 - 1),
            st.integers(0, 1500),
            st.integers(0, 2),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_fuzz_segments(story: list[tuple[bool, str, int, int, int, int]], itself: bool) -> None:
    """Any order of segments, to a peer or to itself."""
    here = ("127.0.0.1", 1)
    there = here if itself else ("127.0.0.1", 2)
    segments = []
    for time, (back, flags, seq, ack, length, window) in enumerate(story):
        ends = (there, here) if back else (here, there)
        packet = Packet(time, time, "tcp", *ends, flags, seq, ack, window, length, b"", 1)
        segments.append(packet)
    report = inspect(segments)
    for connection in report.connections:
        for flow in (connection.sent, connection.received):
            assert min(flow.bytes, flow.segments, flow.packets, flow.retransmitted) >= 0
    assert sum(c.sent.packets + c.received.packets for c in report.connections) == len(story)
    assert all(len(line) <= 100 for line in view.lines(report, Paint(False)))


def test_the_interfaces_name_stays(tmp_path: Path) -> None:
    path = tmp_path / "tun.pcapng"
    packets = b"".join(blocks.packet(0, number, bytes(40), 40) for number in range(4))
    path.write_bytes(blocks.section("ours") + blocks.interface(101, 0, "tun7") + packets)
    assert keep(path, lambda frame: frame[0] > 1) == (2, 2)
    assert keep(path, lambda frame: False) == (0, 2)
    source = CaptureFile(path)
    assert list(source) == []
    assert source.names == {101: "tun7"}
