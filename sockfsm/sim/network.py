"""The network between simulated hosts: latency, loss, duplication, reordering, all by the seed.

Every segment is captured where it is sent, before it may be lost: so a capture shows what a host
said, and the silence after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple

from sockfsm.events import Packet
from sockfsm.sim.clock import START, Clock
from sockfsm.sim.frames import ACK, FIN, LETTERS, PSH, RST, SYN, Name, tcp_frame, udp_frame

LOOPBACK = 1_000
"""ns that a packet takes within a host: a call returns after what it sent has arrived and been
answered, as on Linux, where the sending call itself carries a packet through the loopback device."""

EPOCH = 946_684_800_000_000_000 - START
"""Wall minus monotonic time: simulated runs begin with the year 2000."""

ETHERNET = 1


class Segment(NamedTuple):
    """One packet; of UDP the fields of TCP are 0."""

    protocol: str
    source: Name
    target: Name
    seq: int
    ack: int
    flags: int
    window: int
    data: bytes
    mss: int = 0


WHAT: dict[str, Callable[[Segment], bool]] = {
    "syn": lambda s: s.flags & (SYN | ACK) == SYN,
    "syn-ack": lambda s: s.flags & (SYN | ACK) == SYN | ACK,
    "fin": lambda s: bool(s.flags & FIN),
    "rst": lambda s: bool(s.flags & RST),
    "ack": lambda s: s.flags & (ACK | SYN | FIN | RST | PSH) == ACK and not s.data,
    "data": lambda s: bool(s.data) or s.protocol == "udp",
    "any": lambda s: True,
}
"""What a `drop` may name."""


@dataclass
class Rules:
    """How the network treats packets.

    latency, jitter: ns. loss, duplication: probabilities; reorder: that of a packet which takes no
    time and so overtakes others. bandwidth: bits a second from one host to another, 0 for no bound.
    drops: (a word of WHAT, the number of the one that is dropped, from 1). partitions: (from, to) in ns
    since the start, between which nothing arrives.
    """

    latency: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplication: float = 0.0
    drops: list[tuple[str, int]] = field(default_factory=list)
    reorder: float = 0.0
    bandwidth: int = 0
    partitions: list[tuple[int, int]] = field(default_factory=list)


class Fate:
    """What becomes of each packet: the rules, a random source, and how many of each kind have passed.

    The same for simulated segments and for real ones (`wires.py`).
    """

    def __init__(self, random: Random, rules: Rules) -> None:
        self.rules = rules
        self._random = random
        self._counts = [0] * len(rules.drops)
        self._busy: dict[tuple[str, str], int] = {}
        self.plain = rules == Rules()

    def delays(self, segment: Segment, now: int) -> tuple[int, ...]:
        """ns after which each copy arrives; () for a packet that is lost. now: ns since the start."""
        rules, random = self.rules, self._random
        lost = False
        for place, (what, which) in enumerate(rules.drops):
            if WHAT[what](segment):
                self._counts[place] += 1
                lost = lost or self._counts[place] == which
        lost = lost or any(begin <= now < end for begin, end in rules.partitions)
        queued = self._queued(segment, now) if rules.bandwidth else 0
        if lost or (rules.loss and random.random() < rules.loss):
            return ()
        copies = 2 if rules.duplication and random.random() < rules.duplication else 1
        if rules.reorder and random.random() < rules.reorder:
            return (queued,) * copies
        jitter = rules.jitter
        return tuple(
            queued + rules.latency + (random.randrange(jitter) if jitter else 0)
            for _ in range(copies)
        )

    def _queued(self, segment: Segment, now: int) -> int:
        """ns until the packet's last bit is on the line."""
        way = segment.source[0], segment.target[0]
        head = 28 if segment.protocol == "udp" else 40
        took = (head + len(segment.data)) * 8_000_000_000 // self.rules.bandwidth
        self._busy[way] = max(self._busy.get(way, 0), now) + took
        return self._busy[way] - now


class Network:
    """Carries segments to `deliver`, and captures them."""

    def __init__(
        self, clock: Clock, random: Random, rules: Rules, deliver: Callable[[Segment], None]
    ) -> None:
        self.rules = rules
        self.packets: list[Packet] = []
        self._clock = clock
        self._deliver = deliver
        self._fate = Fate(random, rules)
        self._number = 0
        self.bytes = 0

    def send(self, segment: Segment) -> None:
        """Capture a segment and, as the rules will have it, deliver it."""
        self._capture(segment)
        fate = self._fate
        delays = (0,) if fate.plain else fate.delays(segment, self._clock.now - START)
        for delay in delays:
            self._clock.after(LOOPBACK + delay, partial(self._deliver, segment))

    def _capture(self, segment: Segment) -> None:
        protocol, source, target, seq, ack, flags, window, data, mss = segment
        self._number += 1
        if protocol == "udp":
            raw = udp_frame(source, target, self._number, data)
        else:
            raw = tcp_frame(source, target, self._number, seq, ack, flags, window, data, mss)
        self.bytes += len(raw)
        now = self._clock.now
        self.packets.append(
            Packet(
                now, now + EPOCH, protocol, source, target,
                "" if protocol == "udp" else LETTERS[flags],
                seq, ack, window, len(data), raw, ETHERNET,
            )
        )  # fmt: skip
