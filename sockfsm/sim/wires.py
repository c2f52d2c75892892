"""Real hosts with a network of our own between them: what a scenario's network does, real packets meet.

Each host is a network namespace with a tun device; a thread of ours carries what leaves one to the
others, by the same rules as the simulated network, and captures each packet before it may be lost.
The kernel's options beyond RFC 9293 (timestamps, SACK, window scaling) are off, as the simulator has
none of them. Sources: network_namespaces(7), netdevice(7), tcp(7), Linux's tuntap.rst.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import socket
import struct
import threading
import time
from pathlib import Path
from random import Random

from sockfsm.errors import UsageError
from sockfsm.events import Packet
from sockfsm.sim.frames import LETTERS
from sockfsm.sim.network import ETHERNET, Fate, Rules, Segment
from sockfsm.wire.namespace import CLONE_NEWNET, NamespaceError, enter, raise_interface

DEVICE = "wire0"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCADDRT, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x890B, 0x8916, 0x891C
_RTF_UP = 1
_PLAIN = ("tcp_timestamps", "tcp_sack", "tcp_window_scaling", "tcp_ecn")
_HEADER = b"\0" * 12 + b"\x08\x00"
_LARGEST = 65_536
_QUIET = 0.1
"""Seconds without a packet after which none will come, but for repetitions: delayed ACKs take 40 ms."""


class Alone:
    """A network namespace with nothing but a loopback, for a scenario that needs no more."""

    packets: list[Packet] | None = None

    def __enter__(self) -> Alone:
        _enter()
        return self

    def __exit__(self, *_: object) -> None:
        """The namespace goes with the process."""

    def stand(self, host: str) -> None:
        """Have the calling thread be on a host."""


class Wires(Alone):
    """Namespaces for these hosts, and the network between them, for a process with one thread.

    packets: what was captured, once the block has ended.
    """

    def __init__(self, hosts: list[str], rules: Rules, seed: int = 0) -> None:
        self.packets: list[Packet] = []
        self._names = hosts
        self._fate = Fate(Random(seed), rules)
        self._spaces: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="wires", daemon=True)

    def __enter__(self) -> Wires:
        for host in self._names:
            _enter()
            self._ends[host] = _tun(host)
            self._spaces[host] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopped)
        self._thread.join()
        for descriptor in (self._stop, *self._ends.values(), *self._spaces.values()):
            os.close(descriptor)

    def stand(self, host: str) -> None:
        """Have the calling thread be on a host."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self._spaces[host], CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _carry(self) -> None:
        """Carry packets until the block ends."""
        due: list[tuple[int, int, bytes]] = []
        names = {descriptor: host for host, descriptor in self._ends.items()}
        number, watched, began = 0, [self._stop], time.monotonic_ns()
        while True:
            left = max(due[0][0] - time.monotonic_ns(), 0) / 1e9 if due else None
            if left is None and not watched:
                left = _QUIET
            ready, _, _ = select.select([*watched, *names], [], [], left)
            if self._stop in ready:
                watched.clear()  # what is still under way arrives, and is answered
                continue
            if not ready and not due and not watched:
                return
            for end in ready:
                raw = os.read(end, _LARGEST)
                now = time.monotonic_ns()
                segment = _segment(raw)
                if segment is None:
                    continue  # IPv6's router solicitations
                self._capture(segment, raw, now)
                for delay in self._fate.delays(segment, now - began):
                    number += 1
                    heapq.heappush(due, (now + delay, number, raw))
            while due and due[0][0] <= time.monotonic_ns():
                raw = heapq.heappop(due)[2]
                target = self._ends.get(socket.inet_ntoa(raw[16:20]))
                if target is not None:
                    os.write(target, raw)

    def _capture(self, segment: Segment, raw: bytes, now: int) -> None:
        if segment.protocol == "icmp":
            return
        wall = now + time.time_ns() - time.monotonic_ns()
        protocol, source, target, seq, ack, flags, window, data, _ = segment
        letters = "" if protocol == "udp" else LETTERS[flags]
        self.packets.append(
            Packet(
                now, wall, protocol, source, target, letters, seq, ack, window, len(data),
                _HEADER + raw, ETHERNET,
            )
        )  # fmt: skip


def wanted(hosts: list[str], rules: Rules) -> bool:
    """Whether loopback alone cannot play it. UsageError where nothing here can."""
    outside = [host for host in hosts if host != "::1" and not host.startswith("127.")]
    if not outside and rules == Rules():
        return False
    if len(outside) < len(hosts) or len(hosts) < 2:
        raise UsageError(
            "a network within one host can only be simulated: to play it, place each actor on a"
            " host of its own, as in `server at 10.0.0.1:`"
        )
    if any(":" in host for host in hosts):
        raise UsageError("a network over IPv6 can only be simulated: play it over IPv4")
    return True


def _enter() -> None:
    """Go into a new namespace whose TCP is RFC 9293's alone. UsageError where that is not possible."""
    try:
        enter()
        for name in _PLAIN:
            Path("/proc/sys/net/ipv4", name).write_text("0")
    except (NamespaceError, OSError) as error:
        raise UsageError(f"no network of our own, so it can only be simulated: {error}") from None


def _tun(host: str) -> int:
    """A tun device with this address, to which all goes that is for somebody else; its descriptor."""
    name = DEVICE.encode()
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        flags = _IFF_TUN | _IFF_NO_PI
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name, flags))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for word, address in ((_SIOCSIFADDR, host), (_SIOCSIFNETMASK, "255.255.255.255")):
                fcntl.ioctl(control.fileno(), word, struct.pack("16s", name) + _inet(address))
            raise_interface(DEVICE)
            device = ctypes.create_string_buffer(name)
            # struct rtentry: target, gateway and mask, then the flags and the device's name.
            route = struct.pack(
                "@L16s16s16sHhLPhPLLH", 0, _inet("0.0.0.0"), _inet("0.0.0.0"), _inet("0.0.0.0"),
                _RTF_UP, 0, 0, 0, 0, ctypes.addressof(device), 0, 0, 0,
            )  # fmt: skip
            fcntl.ioctl(control.fileno(), _SIOCADDRT, route)
    except OSError as error:
        raise UsageError(
            f"no tun device for {host}, so it can only be simulated: {error.strerror}"
        ) from None
    return descriptor


def _inet(address: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _segment(raw: bytes) -> Segment | None:
    """An IPv4 packet as the rules of a network know it; None for anything else."""
    if raw[0] >> 4 != 4:
        return None
    source, target = socket.inet_ntoa(raw[12:16]), socket.inet_ntoa(raw[16:20])
    body = raw[(raw[0] & 15) * 4 : int.from_bytes(raw[2:4], "big")]
    if raw[9] == socket.IPPROTO_UDP:
        ports = struct.unpack_from(">HH", body)
        return Segment("udp", (source, ports[0]), (target, ports[1]), 0, 0, 0, 0, body[8:])
    if raw[9] != socket.IPPROTO_TCP:
        return Segment("icmp", (source, 0), (target, 0), 0, 0, 0, 0, b"")
    one, other, seq, ack, bits, window = struct.unpack_from(">HHIIHH", body)
    data = body[(bits >> 12) * 4 :]
    ends = (source, one), (target, other)
    return Segment("tcp", *ends, seq, ack, bits & 0xFF, window, data)
