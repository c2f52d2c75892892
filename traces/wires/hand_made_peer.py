"""A host at 10.9.0.2 made by hand, with scapy: each port has a way of its own to answer."""

from __future__ import annotations

import logging
import sys

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from tun import Answers, Tun  # noqa: E402

ISN = 7_000_000
SLOW = 0.02


def reply(got: IP, flags: str, seq: int, ack: int = 0, **fields: object) -> bytes:
    """A segment back to where `got` came from, `seq` counted from our SYN."""
    payload = fields.pop("payload", b"")
    fields = {"window": 8192, **fields}
    ports = {"sport": got.dport, "dport": got.sport}
    head = TCP(**ports, flags=flags, seq=ISN + seq, ack=ack % 2**32, **fields)
    return bytes(IP(src=got.dst, dst=got.src) / head / payload)


def after(got: IP) -> int:
    """The acknowledgement of all that the segment holds."""
    tcp = got[TCP]
    return int(tcp.seq + len(tcp.payload) + ("S" in tcp.flags) + ("F" in tcp.flags))


def opened(got: IP, window: int = 8192) -> Answers:
    """SYN-ACK for a SYN."""
    return [(0, reply(got, "SA", 0, after(got), window=window, options=[("MSS", 1000)]))]


def wrong_acknowledgement(got: IP) -> Answers:
    """A SYN-ACK of what was never sent: RFC 9293, 3.10.7.3 answers it with RST."""
    return [(0, reply(got, "SA", 0, after(got) + 1000))] if "S" in got[TCP].flags else []


def reset_in_the_opening(got: IP) -> Answers:
    """SYN for a SYN, and RST for the SYN-ACK that this brings."""
    if got[TCP].flags == "S":
        return [(0, reply(got, "S", 0))]
    return [(0, reply(got, "R", 1))] if "S" in got[TCP].flags else []


def simultaneous(got: IP) -> Answers:
    """SYN for a SYN, FIN for a FIN, each before the other end's had come."""
    flags = got[TCP].flags
    if flags == "S":
        return [(0, reply(got, "S", 0))]
    if "S" in flags:
        return [(SLOW, reply(got, "SA", 0, after(got)))]
    if "F" in flags:
        return [(0, reply(got, "FA", 1, got[TCP].seq)), (SLOW, reply(got, "A", 2, after(got)))]
    return []


class HeldWindow:
    """Takes 1000 bytes and closes the window; opens it when it was probed three times."""

    def __init__(self) -> None:
        self.probes = self.taken = 0

    def __call__(self, got: IP) -> Answers:
        tcp = got[TCP]
        if "S" in tcp.flags:
            return opened(got, window=1000)
        if "F" in tcp.flags:
            return [(0, reply(got, "FA", 1, after(got)))]
        if tcp.payload:
            self.taken = after(got)
        elif tcp.seq == self.taken - 1:
            self.probes += 1
        else:
            return []
        return [(0, reply(got, "A", 1, self.taken, window=0 if self.probes < 3 else 8192))]


def nonsense(got: IP) -> Answers:
    """What no sound host sends: each is dropped, or answered with what is right (RFC 5961)."""
    flags = got[TCP].flags
    if "S" in flags:
        return [(0, reply(got, "SA", 0, after(got), options=[(2, b"\x05"), (254, b"x" * 9)]))]
    if "F" in flags:
        return [(0, reply(got, "FA", 11, after(got)))]
    if not got[TCP].payload:
        return []
    right = after(got)
    return [
        (0.00, reply(got, "R", 5000, right)),  # a reset that is not of the next byte
        (0.01, reply(got, "S", 300)),  # a SYN on an open connection
        (0.02, reply(got, "A", 1, right + 90_000)),  # acknowledges what nobody sent
        (0.03, reply(got, "PA", 900_000, right, payload=b"far away")),
        (0.04, reply(got, "", 1)),  # no flags
        (0.05, reply(got, "FSRPAU", 400, right)),  # all of them
        (0.06, reply(got, "PA", 1, right, payload=b"the answer")),
    ]


def vanishes(got: IP) -> Answers:
    """Opens, and is never heard of again."""
    return opened(got) if "S" in got[TCP].flags else []


def scans(got: IP) -> Answers:
    """For a datagram with a port: SYN to there, and RST for the SYN-ACK, as a port scanner does."""
    if UDP in got:
        knock = IP(src=got.src, dst=got.dst) / TCP(sport=int(bytes(got[UDP].payload)), dport=7)
        return [(0, reply(knock, "S", 0))]
    return [(0, reply(got, "R", 1))] if "S" in got[TCP].flags else []


WAYS = {
    1: wrong_acknowledgement,
    2: reset_in_the_opening,
    3: simultaneous,
    4: HeldWindow(),
    5: nonsense,
    6: vanishes,
    7: scans,
}


def answer(packet: bytes) -> Answers:
    """What the host says to a packet."""
    got = IP(packet)
    if TCP not in got and UDP not in got:
        return []
    way = WAYS.get(got.dport)
    return way(got) if way else []


with Tun("wire0") as tun:
    print("wire0", flush=True)
    tun.serve(answer, sys.stdin.fileno())
