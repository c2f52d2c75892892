"""The network between simulated hosts: latency, loss, duplication, reordering, all by the seed.

Every segment is captured where it is sent, before it may be lost: so a capture shows what a host
said, and the silence after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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

    latency, jitter: ns. loss, duplication: probabilities. drops: (a word of WHAT, the number of the
    one that is dropped, from 1).
    """

    latency: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplication: float = 0.0
    drops: list[tuple[str, int]] = field(default_factory=list)


class Network:
    """Carries segments to `deliver`, and captures them."""

    def __init__(
        self, clock: Clock, random: Random, rules: Rules, deliver: Callable[[Segment], None]
    ) -> None:
        self.rules = rules
        self.packets: list[Packet] = []
        self._clock = clock
        self._random = random
        self._deliver = deliver
        self._counts: dict[str, int] = {}
        self._number = 0

    def send(self, segment: Segment) -> None:
        """Capture a segment and, as the rules will have it, deliver it."""
        self._capture(segment)
        if self._lost(segment):
            return
        copies = 1
        if self.rules.duplication and self._random.random() < self.rules.duplication:
            copies = 2
        for _ in range(copies):
            delay = LOOPBACK + self.rules.latency
            if self.rules.jitter:
                delay += self._random.randrange(self.rules.jitter)
            self._clock.after(delay, lambda: self._deliver(segment))

    def _lost(self, segment: Segment) -> bool:
        lost = False
        for what, which in self.rules.drops:
            key = f"{what} {which}"
            if WHAT[what](segment):
                self._counts[key] = self._counts.get(key, 0) + 1
                lost = lost or self._counts[key] == which
        return lost or (self.rules.loss > 0 and self._random.random() < self.rules.loss)

    def _capture(self, segment: Segment) -> None:
        protocol, source, target, seq, ack, flags, window, data, mss = segment
        self._number += 1
        if protocol == "udp":
            raw = udp_frame(source, target, self._number, data)
        else:
            raw = tcp_frame(source, target, self._number, seq, ack, flags, window, data, mss)
        now = self._clock.now
        self.packets.append(
            Packet(
                now, now + EPOCH, protocol, source, target,
                "" if protocol == "udp" else LETTERS[flags],
                seq, ack, window, len(data), raw, ETHERNET,
            )
        )  # fmt: skip
