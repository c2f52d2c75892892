"""A packet socket with a TPACKET_V3 ring, and the conversion of its blocks to pcapng.

Every millisecond in which the capturing process starts up delays the traced program. So this module
imports `_socket` and neither `socket`, `ctypes` nor `array`, and the starter does what can be done
meanwhile (`opened`, `furnish`). Sources: packet(7), linux/if_packet.h, linux/filter.h.
"""

from __future__ import annotations

import _socket
import mmap
import struct

from sockfsm.wire.blocks import ENHANCED

SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
TPACKET_V3 = 2
TP_STATUS_USER = 1
SO_ATTACH_FILTER, BPF_RET = 26, 0x06
ETH_P_ALL = 3

BLOCK_SIZE = 1 << 18
# 16 MiB, which take the kernel 5 ms to clear. More would delay the start; a longer burst is copied
# into our own memory.
BLOCK_COUNT = 64
FRAME_SIZE = 2048  # the kernel asks for it; with TPACKET_V3 frames may be larger
RETIRE_MS = 10  # a block that is not full is handed over after this time

# Hardware type (linux/if_arp.h) -> link type of capture files. Tun devices have no MAC header.
ARPHRD_LOOPBACK = 772
LINK_ETHERNET, LINK_RAW = 1, 101
LINKS = dict.fromkeys((65534, 512, 768, 769, 776, 778), LINK_RAW)

_BLOCK = struct.Struct("=IIII")  # status, packets, offset of the first, bytes used
_HEADER = struct.Struct("=IIIIIIH")  # next, seconds, ns, bytes kept, length, status, MAC header
_MOST_KNOWN = 128  # bytes; frames up to this size share one `Struct` for each size

_known: dict[int, struct.Struct] = {}


class RefusedError(Exception):
    """Capturing is not possible; `cause` is `permission`, `system` or `file`."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def opened(interface: str) -> list[_socket.socket]:
    """A packet socket for `interface`, without filter and ring, that receives nothing yet.

    For a loopback interface a UDP socket for probes comes second. RefusedError if the kernel refuses.
    """
    try:
        packets = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW, 0)
    except OSError as error:
        cause = "permission" if isinstance(error, PermissionError) else "system"
        raise RefusedError(cause, str(error)) from None
    sockets = [packets]
    try:
        packets.bind((interface, 0))
        packets.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        if loopback(packets):
            # lo shows each frame twice, when it leaves and when it arrives: keep the second.
            packets.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sockets.append(_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, 0))
            sockets[1].bind(("127.0.0.1", 0))
    except OSError as error:
        for each in sockets:
            each.close()
        raise RefusedError("system", error.strerror or str(error)) from None
    return sockets


def loopback(packets: _socket.socket) -> bool:
    """Whether the socket's interface is a loopback."""
    return bool(packets.getsockname()[3] == ARPHRD_LOOPBACK)


def link(packets: _socket.socket) -> int:
    """The link type of the socket's frames, as capture files number it."""
    return LINKS.get(packets.getsockname()[3], LINK_ETHERNET)


def attach(packets: _socket.socket, program: bytes) -> None:
    """Attach a filter, an array of `struct sock_filter`, to a socket. OSError if the kernel refuses."""
    # The kernel wants the array's address. CPython keeps the bytes at the end of the object; to ask
    # ctypes or array for it would cost milliseconds.
    address = id(program) + bytes.__basicsize__ - 1
    filter_of = struct.pack("@HP", len(program) // 8, address)
    packets.setsockopt(_socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_of)


def furnish(sockets: list[_socket.socket], snap: int) -> int:
    """Give the packet socket from `opened` its filter and its ring; returns the ring's size in bytes.

    snap: bytes kept of each frame; 0 keeps only headers, and the probes. RefusedError if there is no
    memory for a ring.
    """
    from sockfsm.wire.snap import headers

    packets, *probes = sockets
    if snap:
        # One instruction, `return snap`: a filter returns how many bytes of a frame to copy.
        program = struct.pack("=HBBI", BPF_RET, 0, 0, snap)
    else:
        port = probes[0].getsockname()[1] if probes else 0
        program = headers(14 if link(packets) == LINK_ETHERNET else 0, port)
    count = BLOCK_COUNT
    try:
        attach(packets, program)
        # The ring is one piece of kernel memory, which may not be had in this size.
        while not _ring(packets, count):
            count //= 2
    except OSError as error:
        raise RefusedError("system", f"no memory for the ring: {error.strerror}") from None
    return BLOCK_SIZE * count


def _ring(packets: _socket.socket, count: int) -> bool:
    """Make a ring of `count` blocks; False if there is no memory. OSError if four are too many."""
    frames = BLOCK_SIZE // FRAME_SIZE * count
    request = struct.pack("=IIIIIII", BLOCK_SIZE, count, FRAME_SIZE, frames, RETIRE_MS, 0, 0)
    try:
        packets.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
    except OSError:
        if count <= 4:
            raise
        return False
    return True


class Ring:
    """The mapped ring of a socket from `opened`. Nothing arrives in it before `start`."""

    def __init__(self, packets: _socket.socket, size: int) -> None:
        self.socket = packets
        self.interface = packets.getsockname()[0]
        self.link = link(packets)
        self.memory = mmap.mmap(packets.fileno(), size)
        self.view = memoryview(self.memory)
        self.count = size // BLOCK_SIZE
        self.at = 0
        self.dropped = 0

    def start(self) -> None:
        self.socket.bind((self.interface, ETH_P_ALL))

    def holds(self, token: bytes) -> bool:
        """Whether `token` is in a block that waits, or in the one that the kernel is filling."""
        for number in range(self.count):
            start = (self.at + number) % self.count * BLOCK_SIZE
            if self.memory.find(token, start, start + BLOCK_SIZE) >= 0:
                return True
            if not _BLOCK.unpack_from(self.view, start + 8)[0] & TP_STATUS_USER:
                return False
        return False

    def count_losses(self) -> None:
        """Add the losses that the kernel has counted since the last time; reading resets its count."""
        reply = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        self.dropped += struct.unpack("=III", reply)[1]

    def take(self) -> bytes | None:
        """A copy of the oldest block that the kernel has handed over; None if there is none.

        The block itself goes back to the kernel.
        """
        base = self.at * BLOCK_SIZE
        status, _, _, used = _BLOCK.unpack_from(self.view, base + 8)
        if not status & TP_STATUS_USER:
            return None
        data = bytes(self.view[base : base + used])
        # Status 0 gives the block back to the kernel.
        struct.pack_into("=I", self.view, base + 8, 0)
        self.at = (self.at + 1) % self.count
        return data


def _packet(kept: int) -> struct.Struct:
    """The form of a pcapng packet block for a frame of `kept` bytes, as in `blocks.packet`."""
    made = struct.Struct(f">IIIQII{kept}s{-kept & 3}xI")
    if kept <= _MOST_KNOWN:
        _known[kept] = made
    return made


def converted(block: bytes, token: bytes) -> tuple[bytes, int]:
    """Convert a block of the ring to pcapng: (bytes to write, number of packets in them).

    Frames that contain `token` are our probes and are left out; an empty token skips the search.
    """
    _, number, place, _ = _BLOCK.unpack_from(block, 8)
    pieces: list[bytes] = []
    add = pieces.append
    header, known = _HEADER.unpack_from, _known.get
    for _ in range(number):
        step, seconds, ns, kept, length, _, mac = header(block, place)
        start = place + mac
        data = block[start : start + kept]
        place += step
        if token and token in data:
            continue
        packet = known(kept) or _packet(kept)
        total, wall = packet.size, seconds * 1_000_000_000 + ns
        add(packet.pack(ENHANCED, total, 0, wall, kept, length, data, total))
    return b"".join(pieces), len(pieces)
