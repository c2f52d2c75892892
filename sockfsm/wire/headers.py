"""Decodes captured frames to `Packet`: IPv4, IPv6, TCP and UDP on the usual link types.

It is written by hand because every packet of a capture passes through it. Full dissection of single
packets is left to scapy, in `sockfsm.wire.dissect`. Lengths come from the IP header, so a frame counts
in full even if the snap length cut it, or segmentation offload made it larger than the medium allows.
Sources: RFC 791, 8200, 9293, 768; tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from sockfsm.events import Endpoint, Packet
from sockfsm.tcp_names import FLAGS
from sockfsm.wire.pcapng import BATCH, CaptureFile, Frame

ETHERNET, NULL, RAW, LOOP, COOKED, COOKED2, IPV4, IPV6 = 1, 0, 101, 108, 113, 276, 228, 229
# Link type -> (offset of the IP header, offset of its ethertype, None where the frame has none).
IP_AT: dict[int, tuple[int, int | None]] = {
    ETHERNET: (14, 12),
    COOKED: (16, 14),
    COOKED2: (20, 0),
    **dict.fromkeys((NULL, LOOP), (4, None)),
    **dict.fromkeys((RAW, 12, 14, IPV4, IPV6), (0, None)),
}
ELSEWHERE = (1 << 32, None)  # for other link types: an offset beyond every frame
IP_KINDS = frozenset({b"\x08\x00", b"\x86\xdd"})
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
_ICMP_ERRORS = (3, 4, 5, 11, 12)  # unreachable, quench, redirect, time exceeded, bad parameter
ACK = 1 << tuple(FLAGS).index("A")  # its bit

_FLAG_LETTERS = tuple(
    "".join(letter for bit, letter in enumerate(FLAGS) if number >> bit & 1)
    for number in range(256)
)
# The most pairs of endpoints that are remembered: a hostile capture must not fill the memory.
_MOST_ENDS = 1 << 17

# An IPv4 header without options (length, fragment, both addresses), and the TCP header behind it (both
# ports, seq, ack, header length and flags, window). Addresses and ports are read as one key.
PLAIN = struct.Struct(">xxHxxHxxxx12sIIHH")
PLAIN6 = struct.Struct(">4xHBx36sIIHH")
# A pcapng packet block in network order (kind, size, interface, ns, bytes kept), then the ethertype
# and the first byte of IPv4; then as in PLAIN, with the protocol.
_BLOCK = struct.Struct(">IIIQI16x3sxHxxHxBxx12sIIHH")
_LENGTH = struct.Struct(">I")
_TCP = struct.Struct(">IIHH")
_EXTENSIONS = frozenset({0, 43, 60, 135})  # hop-by-hop, routing, destination, mobility

_NOT_JOINED = tuple(Packet._field_defaults.values())  # NamedTuple._make does not fill them in

EndpointPair = tuple[Endpoint, Endpoint]


class _IP(NamedTuple):
    """Offset of the transport header in a frame, its protocol, and the bytes from there on the wire."""

    start: int
    protocol: int
    length: int
    addresses: bytes


class FrameDecoder:
    """Decodes frames to packets. clock: wall minus monotonic time, in ns."""

    def __init__(self, clock: int = 0) -> None:
        self.clock = clock
        self.ends: dict[bytes, EndpointPair] = {}

    def run(self, data: bytes, place: int) -> tuple[list[Packet], int]:
        """Decode pcapng blocks from `place` on: (TCP and UDP packets, where it stopped).

        The fast path for files of ours. Interface 0 must be ethernet, with times in ns. It stops at the
        first block that is not a complete packet block of that interface, or after BATCH bytes. Other
        protocols and later fragments are left out.
        """
        packets: list[Packet] = []
        add, new, limit = packets.append, tuple.__new__, len(data)
        clock, ends, flags, joined = self.clock, self.ends, _FLAG_LETTERS, _NOT_JOINED
        unpack, unpack6 = _BLOCK.unpack_from, PLAIN6.unpack_from
        stop = min(limit - _BLOCK.size, place + BATCH)
        while place <= stop:
            (
                kind, size, number, wall, kept, version,
                total, fragment, protocol, key, seq, ack, bits, window,
            ) = unpack(data, place)  # fmt: skip
            start, ahead = place + 28, place + size
            if kind != 6 or number or kept + 32 > size or size & 3 or ahead > limit:
                break
            place = ahead
            frame = data[start : start + kept]
            if version == b"\x86\xdd\x60" and kept >= 74:
                total, protocol, key, seq, ack, bits, window = unpack6(frame, 14)
                total, fragment = total + 20, 0  # IPv6 counts without its header, IPv4 with it
            elif version != b"\x08\x00\x45" or kept < 42:
                protocol = 0
            # Later fragments have no ports. Unknown endpoints go through `decode`, which remembers
            # them.
            if key in ends and not fragment & 0x1FFF:
                source, target = ends[key]
                if protocol == TCP and kept >= 54:
                    payload = total - 20 - (bits >> 10 & 60)
                    if payload >= 0:
                        letters = flags[bits & 255]
                        add(new(Packet, (wall - clock, wall, "tcp", source, target, letters, seq,
                                         ack, window, payload, frame, 1, *joined)))  # fmt: skip
                        continue
                elif protocol == UDP and total >= 28:
                    add(new(Packet, (wall - clock, wall, "udp", source, target, "", 0,
                                     0, 0, total - 28, frame, 1, *joined)))  # fmt: skip
                    continue
            length = _LENGTH.unpack_from(data, start - 4)[0]
            packet = self.decode((wall, ETHERNET, frame, length))
            if packet is not None:
                add(packet)
        return packets, place

    def decode(self, frame: Frame) -> Packet | None:
        """Decode one frame of any link type; None if it is not TCP or UDP, or is too short."""
        wall, link, data, length = frame
        start = network(link, data)
        ip = _ip(data, start, length) if start is not None else None
        if ip is None:
            return None
        place = ip.start
        if len(data) < place + 8:
            return None
        pair = self._ends(ip.addresses, data[place : place + 4])
        time = wall - self.clock
        if ip.protocol == UDP:
            payload = max(ip.length - 8, 0)
            return Packet(time, wall, "udp", *pair, "", 0, 0, 0, payload, data, link)
        if len(data) < place + 16:
            return None
        seq, ack, bits, window = _TCP.unpack_from(data, place + 4)
        payload = max(ip.length - (bits >> 10 & 60), 0)
        flags = _FLAG_LETTERS[bits & 255]
        return Packet(time, wall, "tcp", *pair, flags, seq, ack, window, payload, data, link)

    def quoted(self, frame: Frame) -> Packet | None:
        """The packet that an ICMP error quotes, such as a datagram to a closed port; None without."""
        wall, link, data, length = frame
        start = network(link, data)
        if start is None or len(data) < start + 48:
            return None
        inner = None
        if data[start] >> 4 == 4 and data[start + 9] == ICMP:
            header = (data[start] & 15) * 4
            if header >= 20 and data[start + header] in _ICMP_ERRORS:
                inner = start + header + 8
        elif data[start] >> 4 == 6 and data[start + 6] == ICMP6 and data[start + 40] < 128:
            inner = start + 48
        if inner is None:
            return None
        return self.decode((wall, RAW, data[inner:], length - inner))

    def _ends(self, addresses: bytes, ports: bytes) -> EndpointPair:
        key = addresses + ports
        pair = self.ends.get(key)
        if pair is None:
            # All packets of a direction share these objects, which saves memory.
            if len(self.ends) >= _MOST_ENDS:
                self.ends.clear()
            half = len(addresses) // 2
            family = AF_INET if half == 4 else AF_INET6
            source, target = struct.unpack(">HH", ports)
            pair = self.ends[key] = (
                (inet_ntop(family, addresses[:half]), source),
                (inet_ntop(family, addresses[half:]), target),
            )
        return pair


def packets(
    path: Path | str, clock: int | None = None, problems: list[str] | None = None
) -> Iterator[Packet]:
    """Yield the TCP and UDP packets of a capture file, in its order.

    clock: wall minus monotonic time, ns. By default the file's own comment says it; without one it is
    0, and a packet's `time` is its wall time. Adds a line to `problems` for each thing that cannot be
    read. TraceError for a file that is missing or is no capture.
    """
    source = CaptureFile(path)
    if clock is None:
        clock = source.clock.offset if source.clock else 0
    return source.packets(FrameDecoder(clock), problems)


def network(link: int, data: bytes) -> int | None:
    """Offset of the IP header in a frame of this link type; None if it has none."""
    if link in IP_AT:
        start, place = IP_AT[link]
        if place is None:
            return start
        kind = data[place : place + 2]
        # Skip at most four VLAN tags (802.1Q, 802.1ad).
        while link == ETHERNET and kind in (b"\x81\x00", b"\x88\xa8") and place < 28:
            start, place = start + 4, place + 4
            kind = data[place : place + 2]
        return start if kind in IP_KINDS else None
    from sockfsm.wire.dissect import network_offset

    return network_offset(link, data)


def transport(link: int, data: bytes) -> int | None:
    """Offset of the TCP or UDP header in a frame; None if it has none."""
    start = network(link, data)
    ip = _ip(data, start, len(data)) if start is not None else None
    return ip.start if ip else None


def _ip(data: bytes, start: int, length: int) -> _IP | None:
    if len(data) <= start:
        return None
    version = data[start] >> 4
    if version == 4 and len(data) >= start + 20:
        header = (data[start] & 15) * 4
        total, fragment = struct.unpack_from(">HxxH", data, start + 2)
        if header < 20 or fragment & 0x1FFF or data[start + 9] not in (TCP, UDP):
            return None
        # The length is 0 where segmentation was left to the device; then the frame's own length counts.
        total = total or length - start
        addresses = data[start + 12 : start + 20]
        return _IP(start + header, data[start + 9], total - header, addresses)
    if version == 6 and len(data) >= start + 40:
        return _ipv6(data, start, length)
    return None


def _ipv6(data: bytes, start: int, length: int) -> _IP | None:
    total = struct.unpack_from(">H", data, start + 4)[0] or length - start - 40
    following, place = data[start + 6], start + 40
    addresses = data[start + 8 : start + 40]
    while following not in (TCP, UDP):
        if len(data) < place + 8:
            return None
        if following in _EXTENSIONS:
            size = 8 + data[place + 1] * 8
        elif following == 51:  # authentication
            size = 8 + data[place + 1] * 4
        elif following == 44 and not struct.unpack_from(">H", data, place + 2)[0] & 0xFFF8:
            size = 8
        else:
            return None
        following = data[place]
        place += size
    return _IP(place, following, total - (place - start - 40), addresses)


class TcpOptions(NamedTuple):
    """The TCP options of a SYN, None for one that it does not offer.

    mss: bytes. scale: the shift for receive windows. timestamps: (value, echo). sound: the options
    could be read to their end.
    """

    mss: int | None = None
    scale: int | None = None
    sack: bool = False
    timestamps: tuple[int, int] | None = None
    sound: bool = True


def options(packet: Packet) -> TcpOptions:
    """The TCP options of a packet, as far as they were captured and can be read."""
    start = transport(packet.link, packet.raw)
    if start is None or packet.protocol != "tcp":
        return TcpOptions()
    end = start + (packet.raw[start + 12] >> 4) * 4
    sound = start + 20 <= end <= len(packet.raw)
    values: dict[str, object] = {}
    data = packet.raw[start + 20 : end]
    place = 0
    while place < len(data) and data[place] != 0:
        if data[place] == 1:
            place += 1
            continue
        kind, size = data[place], data[place + 1] if place + 1 < len(data) else 0
        value = data[place + 2 : place + size]
        if size < 2 or len(value) != size - 2:
            sound = False
            break
        read = _OPTIONS.get((kind, size))
        if read:
            name, meaning = read
            values[name] = meaning(value)
        place += size
    return TcpOptions(**values, sound=sound)  # type: ignore[arg-type]


_OPTIONS: dict[tuple[int, int], tuple[str, Callable[[bytes], object]]] = {
    (2, 4): ("mss", lambda value: int.from_bytes(value, "big")),
    (3, 3): ("scale", lambda value: min(value[0], 14)),  # at most 14: RFC 7323, 2.3
    (4, 2): ("sack", lambda _: True),
    (8, 10): ("timestamps", lambda value: struct.unpack(">II", value)),
}
