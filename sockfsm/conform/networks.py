"""Stages that are networks of their own: no route, a firewall, a router's answers, a single port."""

from __future__ import annotations

import _socket
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sockfsm.conform.bench import TCP_STATES, Address, Bench, TcpBench, UdpBench, outcome_of
from sockfsm.conform.circumstances import Accepting
from sockfsm.conform.stages import Caught, StageError, impatient, until_broken

_IP_RECVERR = 11


def _do(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise StageError(f"{words[0]}: {error.strerror}") from None
    if done.returncode:
        raise StageError(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1]}")


def _filter(hook: str, *rules: str) -> None:
    """Add these rules to nftables. Only in a network namespace of our own."""
    chain = f"add chain ip shown here {{ type filter hook {hook} priority 0; }}"
    adding = (f"add rule ip shown here {rule}" for rule in rules if rule)
    _do("nft", "; ".join(("add table ip shown", chain, *adding)))


class Unrouted(Bench):
    """There is no route to the target."""

    way = ""

    def open(self) -> None:
        super().open()
        if self.way != "noroute":
            _do("ip", "route", "add", self.way, "192.0.2.1")

    def target(self) -> Address:
        return ("192.0.2.1", 9)

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(b"x", self.target())


class Dropped(Bench):
    """A firewall drops what goes out, so that the send fails."""

    def open(self) -> None:
        super().open()
        _filter("output", "udp dport 1-65535 drop")

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(b"x", self.target())


class Rejected(Bench):
    """ICMP answers that the target cannot be reached. The socket has IP_RECVERR."""

    icmp = ""
    late = False

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        return sock

    def reject(self) -> None:
        assert self.peer is not None
        name, port = self.peer.getsockname()
        proto = "tcp" if self.type == socket.SOCK_STREAM else "udp"
        to = f"ip daddr {name} {proto} dport {port}"
        first = f"{to} limit rate 1/day burst 1 packets drop" if self.late else ""
        _filter("input", first, f"{to} reject with icmp type {self.icmp}-unreachable")


class RejectedUdp(Rejected, UdpBench):
    """The same for datagrams."""

    def open(self) -> None:
        super().open()
        self.reject()


class RejectedTcp(Rejected, TcpBench):
    """The same for SYNs. ICMP answers the second one, while no call uses the socket."""

    late = True

    def open(self) -> None:
        super().open()
        self.reject()

    def after(self, sock: socket.socket, call: str) -> None:
        if call == "connect":
            until_broken(sock)


class Patient(Bench):
    """Python waits for ICMP's answer, with a timeout."""

    def make(self) -> socket.socket:
        sock = super().make()
        sock.settimeout(30)
        return sock

    def after(self, sock: socket.socket, call: str) -> None:
        """Python has waited already."""


class Doubted(RejectedTcp):
    """ICMP answers the first SYN, during connect(): TCP goes on trying."""

    late = False

    def make(self) -> socket.socket:
        return TcpBench.make(self)

    def begin(self) -> socket.socket:
        self.sock = super().begin()
        return self.sock

    def after(self, sock: socket.socket, call: str) -> None:
        """No wait: the answer came at once."""

    def act_out(self, act: str) -> None:
        """`!answered`, `!unanswered`, `!rejected`: what becomes of the attempt."""
        if act != "rejected":
            _do("nft", "flush ruleset")
        if act == "unanswered":
            _filter("input", "tcp dport 1-65535 drop")
            impatient(self.sock)
        state = "ESTABLISHED" if act == "answered" else "CLOSE"
        deadline = time.monotonic() + 30
        while _tcp_state(self.sock) != state:
            if time.monotonic() > deadline:
                raise StageError(f"the attempt did not come to {state}")
            time.sleep(0.01)


def _tcp_state(sock: socket.socket) -> str:
    return TCP_STATES[sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]


class CutTcp(Rejected, Accepting, TcpBench):
    """The network goes away while the connection is open."""

    cut = False

    def before(self, sock: socket.socket, call: str) -> None:
        if call == "send" and not self.cut:
            self.cut = True
            self.reject()

    def begin(self) -> socket.socket:
        self.cut = False
        return super().begin()

    def after(self, sock: socket.socket, call: str) -> None:
        super().after(sock, call)
        if call == "send":
            until_broken(sock)


class DoubtedLater(CutTcp):
    """ICMP says that the peer cannot be reached, but the connection goes on."""

    def make(self) -> socket.socket:
        return TcpBench.make(self)

    def after(self, sock: socket.socket, call: str) -> None:
        Accepting.after(self, sock, call)


class OnePort(Bench):
    """The network has a single port to assign, and it is taken."""

    def set_up(self) -> socket.socket:
        try:
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40000")
        except OSError as error:
            raise StageError(f"ip_local_port_range: {error.strerror}") from None
        return super().set_up()


class Unresolved(Bench):
    """Datagrams stay in the send buffer: the neighbour never answers ARP."""

    def open(self) -> None:
        super().open()
        _do("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for name in ("v0", "v1"):
            _do("ip", "link", "set", name, "up")
        _do("ip", "addr", "add", "192.0.2.1/24", "dev", "v0")

    def make(self) -> socket.socket:
        sock = super().make()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return sock

    def target(self) -> Address:
        return ("192.0.2.2", 9)

    def send(self, sock: socket.socket) -> object:
        return sock.sendto(bytes(1400), self.target())

    def before(self, sock: socket.socket, call: str) -> None:
        self.sent = getattr(self, "sent", 0) + 1
        if self.sent == 2:
            while outcome_of(partial(self._fill, sock)) == "ok":
                continue

    def _fill(self, sock: socket.socket) -> object:
        return _socket.socket.sendto(sock, bytes(1400), socket.MSG_DONTWAIT, self.target())


class UnresolvedCaught(Caught, Unresolved):
    """A signal comes while the sender waits for room."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        return super().deed(sock, call) if self.sent > 1 else Unresolved.deed(self, sock, call)

    def _fill(self, sock: socket.socket) -> object:
        return Unresolved._fill(self, sock)


class TooBigForPath(UdpBench):
    """A router says that a datagram was too big for the path. We write its ICMP message ourselves."""

    def begin(self) -> socket.socket:
        self.sock = super().begin()
        return self.sock

    def act_out(self, act: str) -> None:
        """`!too_big`: fragmentation needed, and the next hop's MTU is 576 bytes (RFC 1191)."""
        assert self.peer is not None
        (own, own_port), (peer, peer_port) = self.sock.getsockname(), self.peer.getsockname()
        ends = socket.inet_aton(own) + socket.inet_aton(peer)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 60, 1, 0x4000, 64, socket.IPPROTO_UDP, 0) + ends
        datagram = struct.pack("!HHHH", own_port, peer_port, 40, 0)
        rest = struct.pack("!HH", 0, 576) + header + datagram
        total = sum(struct.unpack(f"!{len(rest) // 2}H", rest)) + 0x0304
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as router:
            router.sendto(struct.pack("!BBH", 3, 4, ~total & 0xFFFF) + rest, (own, 0))


class Nameless(Bench):
    """The network has no name server."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        address = ("nowhere.invalid", 9)
        deeds = {
            "bind": lambda: sock.bind(address),
            "connect": lambda: sock.connect(address),
            "send": lambda: sock.sendto(b"x", address),
            "resolve": lambda: socket.getaddrinfo(*address),
        }
        return deeds[call]

    def step(self, sock: socket.socket, call: str) -> str:
        try:
            self.deed(sock, call)()
        except socket.gaierror:
            return "gaierror"
        return "ok"
