"""The virtual kernel: a call is answered by its kind's rules, and what it does to the world follows.

`attempt` gives a call's answer, or None where it would wait; `woken` hears which sockets may have an
answer now. Nothing here says what a call leads to: only what a socket's new parts mean for
connections, queues and names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from sockfsm import tcp_names
from sockfsm.model.kinds import table_of
from sockfsm.model.rules import EOF, OK, Rule
from sockfsm.sim import facts, streams
from sockfsm.sim.answers import ask, state, then
from sockfsm.sim.clock import Clock
from sockfsm.sim.names import Names, wildcard
from sockfsm.sim.network import Network, Rules, Segment
from sockfsm.sim.sockets import Answer, Request, UnixEnd, VirtualSocket
from sockfsm.sim.stack import Stack

_WAITS = frozenset({"EAGAIN", "EINPROGRESS", "EALREADY"})
_READS = frozenset({"shutdown_rd", "shutdown_rdwr"})
_WRITES = frozenset({"shutdown_wr", "shutdown_rdwr"})


class Kernel:
    """Sockets of all hosts, and the network between them."""

    def __init__(
        self, clock: Clock, random: Random, rules: Rules, woken: Callable[[VirtualSocket], None],
        data_socket: Callable[[VirtualSocket], VirtualSocket],
    ) -> None:  # fmt: skip
        self.clock = clock
        self.woken = woken
        self.data_socket = data_socket
        self.names = Names(random)
        self.everybody: list[VirtualSocket] = []
        self.stack = Stack(clock, random, self.names, woken)
        self.network = Network(clock, random, rules, self._deliver)
        self.stack.send = self.network.send

    def attempt(self, sock: VirtualSocket, request: Request) -> Answer | None:
        """The answer of a call, None while it has to wait."""
        if request.word == "connect" and sock.kind == "tcp":
            return self._connect(sock, request)
        if request.word == "close" and sock.holders > 1:
            sock.holders -= 1
            return Answer("deferred", sock.state, sock.state)
        entry = self._asked(sock, request)
        if entry.outcome in _WAITS and sock.mode != "nonblocking":
            return None
        if request.word == "send" and entry.outcome == OK:
            return self._send(sock, request, entry)
        return self._done(sock, request, entry)

    def lingers(self, sock: VirtualSocket) -> bool:
        """Whether close() still waits until its FIN is acknowledged (socket(7), SO_LINGER)."""
        waits = (tcp_names.FIN_WAIT_1, tcp_names.CLOSING, tcp_names.LAST_ACK)
        return bool(sock.linger) and sock.tcb is not None and sock.tcb.state in waits

    def closed(self, sock: VirtualSocket, request: Request) -> Answer:
        """The answer of a call by a descriptor that is closed, while others of the socket are open."""
        ended = table_of(sock.kind).initial
        for word in ("create", "close"):
            ended = then(sock.kind, ended, ask(sock.kind, ended, word, {}))
        entry = ask(sock.kind, ended, request.word, {"mode": sock.mode})
        return Answer(entry.outcome, state(sock.kind, ended), state(sock.kind, ended), rule=entry)

    def waits(self, sock: VirtualSocket, request: Request) -> bool:
        """Whether a call that has begun to wait would go on waiting."""
        tcb = sock.tcb
        if request.started and tcb is not None:
            return tcb.state in (tcp_names.SYN_SENT, tcp_names.SYN_RECEIVED)
        return sock.mode != "nonblocking" and self._asked(sock, request).outcome in _WAITS

    def expired(self, sock: VirtualSocket, request: Request) -> Answer:
        """The socket's timeout has run out while the call waited."""
        given, seen = facts.of(self, sock, request)
        if request.word == "connect" and sock.kind == "tcp":
            given = {"mode": "nonblocking", "peer": "silent"}
        entry = ask(sock.kind, sock.parts, request.word, given, seen)
        answer = self._done(sock, request, entry)
        answer.outcome = "timeout"
        return answer

    def pair(self, one: VirtualSocket, other: VirtualSocket) -> None:
        """Connect what socketpair() makes."""
        if one.kind == "unix-dgram":
            one.peer, other.peer = other, one
            return
        one.end, other.end = UnixEnd(owner=one), UnixEnd(owner=other)
        one.end.peer, other.end.peer = other.end, one.end

    def unlink(self, kind: str, path: str, of: Callable[[VirtualSocket], bool]) -> Answer:
        """Remove a path. of: whether the caller's process has made the socket that is bound to it."""
        held = self.names.paths.pop(path, None)
        if held is not None and of(held):
            return self._done(
                held, Request("unlink", "unlink"), self._asked(held, Request("unlink", ""))
            )
        given = {"file": "absent" if held is None else "stale"}
        entry = ask(kind, table_of(kind).initial, "unlink", given)
        return Answer(entry.outcome, "", "", rule=entry)

    def owner(self, path: str) -> VirtualSocket | None:
        """The socket bound to a path."""
        return self.names.held(path)

    # Calls

    def _asked(self, sock: VirtualSocket, request: Request, **more: str) -> Rule:
        given, seen = facts.of(self, sock, request)
        parts = sock.parts
        if sock.icmp:
            place = sock.order["err"]
            parts = (*parts[:place], "pending", *parts[place + 1 :])
        return ask(sock.kind, parts, request.word, {**given, **more}, seen)

    def _connect(self, sock: VirtualSocket, request: Request) -> Answer | None:
        """A TCP connect(): what a non-blocking one would be told decides whether to wait."""
        if not request.started:
            silent = {} if sock.tcb is not None or sock.failure else {"peer": "silent"}
            if silent and sock.name is not None and sock.name == request.address:
                silent = {"peer": "itself"}
            entry = self._asked(sock, request, mode="nonblocking", **silent)
            if entry.outcome == "EINPROGRESS":
                before = sock.state
                assert isinstance(request.address, tuple)
                if sock.mode == "nonblocking":
                    sock.parts = then(sock.kind, sock.parts, entry)
                self.stack.connect(sock, request.address)
                if sock.mode == "nonblocking":
                    return Answer(
                        entry.outcome, before, sock.state, address=sock.target, rule=entry
                    )
                request.started = True
                return None
            if entry.outcome not in _WAITS or sock.mode == "nonblocking":
                return self._done(sock, request, entry)
            request.started = True
        tcb = sock.tcb
        if tcb is not None and tcb.state in (tcp_names.SYN_SENT, tcp_names.SYN_RECEIVED):
            return None
        return self._done(sock, request, self._asked(sock, request))

    def _send(self, sock: VirtualSocket, request: Request, entry: Rule) -> Answer | None:
        before = sock.state
        taken = streams.push(self, sock, request, request.data[request.moved :])
        request.moved += taken
        sock.parts = then(sock.kind, sock.parts, entry)
        whole = request.method == "sendall" or sock.mode == "blocking"
        if whole and request.moved < len(request.data) and sock.mode != "nonblocking":
            return None
        return Answer(OK, before, sock.state, request.moved, None, request.address, entry)

    def _done(self, sock: VirtualSocket, request: Request, entry: Rule) -> Answer:
        """Make what the rule says true of the world."""
        before, had = sock.state, sock.parts
        sock.parts = then(sock.kind, sock.parts, entry)
        answer = Answer(entry.outcome, before, sock.state, 0, None, request.address, entry)
        word = request.word
        if entry.outcome in (OK, EOF):
            self._effect(sock, request, answer)
        elif word == "send" and request.moved:
            answer.outcome, answer.done = OK, request.moved
        self._consumed(sock, word, entry)
        if sock.kind == "tcp":
            self.stack.settle(sock, had)
        elif sock.kind == "udp" and sock.open and not sock.numbered:
            self._named(sock)
        return answer

    def _named(self, sock: VirtualSocket) -> None:
        """Give a UDP socket a port that nobody chose, or take it back, as its parts say."""
        named = sock.part("name") == "yes"
        if named and sock.name is None:
            self.names.take(sock, (wildcard(sock.host), 0))
        elif not named and sock.name is not None:
            self.names.give_back(sock)
            sock.name = None

    def _consumed(self, sock: VirtualSocket, word: str, entry: Rule) -> None:
        """Errors that are told once."""
        if entry.outcome == "ECONNREFUSED" and sock.icmp:
            sock.icmp = False
        end = sock.end
        if end is not None and entry.outcome == end.error and word in ("recv", "send", "so_error"):
            end.error = ""
        if sock.kind == "unix-dgram" and word == "send" and entry.then.get("peer") == "no":
            sock.peer = None

    def _effect(self, sock: VirtualSocket, request: Request, answer: Answer) -> None:
        word = request.word
        if word == "bind":
            assert request.address is not None
            self.names.take(sock, request.address)
            answer.address = sock.name
        elif word == "listen":
            if sock.name is None:
                self.names.take(sock, (wildcard(sock.host), 0))
            sock.backlog = max(request.size, 0)
        elif word == "accept":
            data = self.data_socket(sock)
            streams.adopt(self, data, sock.queue.popleft())
            answer.value, answer.address = data, data.target
            self.woken(sock)
        elif word == "connect":
            self._linked(sock, request)
        elif word == "recv":
            if answer.outcome == OK:
                answer.value, answer.address = streams.pull(self, sock, request)
            else:
                answer.value = b""
            answer.done = len(answer.value) if isinstance(answer.value, bytes) else 0
        elif word.startswith("shutdown"):
            self._shut(sock, word)
        elif word == "disconnect":
            sock.target = sock.peer = None
        elif word in ("close", "exit", "detach"):
            self._close(sock)

    def _linked(self, sock: VirtualSocket, request: Request) -> None:
        if sock.kind == "tcp":
            return
        sock.target = request.address
        if sock.kind == "udp":
            if sock.name is None:
                self.names.take(sock, (sock.host, 0))
            return
        held = self.names.held(request.address)
        assert held is not None
        if sock.kind == "unix-dgram":
            if sock.peer not in (None, held):
                sock.datagrams.clear()  # what others have sent is no longer wanted
            sock.peer = held
            return
        sock.end, other = UnixEnd(owner=sock), UnixEnd()
        sock.end.peer, other.peer = other, sock.end
        # What was shut before there was a connection stays shut.
        sock.end.read_shut = sock.part("rd") == "shut"
        sock.end.write_shut = sock.part("wr") == "shut"
        held.queue.append(other)
        self.woken(held)

    def _shut(self, sock: VirtualSocket, word: str) -> None:
        tcb, end = sock.tcb, sock.end
        if tcb is not None:
            tcb.read_shut = tcb.read_shut or word in _READS
            if word in _WRITES:
                tcb.finish()
        if end is not None:
            end.read_shut = end.read_shut or word in _READS
            end.write_shut = end.write_shut or word in _WRITES
            if end.peer is not None and end.peer.owner is not None:
                self.woken(end.peer.owner)
        self.woken(sock)

    def _close(self, sock: VirtualSocket) -> None:
        if sock.tcb is not None:
            self.names.reusable[sock.tcb] = sock.reuse
            if sock.linger == 0:
                sock.tcb.abort()
                sock.tcb.orphan = True
            else:
                sock.tcb.close()
        if sock.end is not None:
            streams.closed(self, sock.end)
        self.stack.refuse_queue(sock)
        for waiting in sock.queue:
            if isinstance(waiting, UnixEnd):
                if waiting.peer is not None:
                    waiting.peer.error = "ECONNRESET"
                streams.closed(self, waiting)
        sock.queue.clear()
        self.names.give_back(sock)
        for other in streams.waiting_for(self, sock):
            self.woken(other)

    # What arrives

    def _deliver(self, segment: Segment) -> None:
        if segment.protocol == "tcp":
            self.stack.arrive(segment)
            return
        sock = self.names.receiver("udp", *segment.target)
        if sock is not None and sock.target in (None, segment.source):
            sock.datagrams.append((segment.data, segment.source))
            self.woken(sock)
            return
        self.clock.after(self.network.rules.latency, partial(self._unreachable, segment))

    def _unreachable(self, segment: Segment) -> None:
        """ICMP tells a connected sender that nobody is there (udp(7))."""
        sender = self.names.receiver("udp", *segment.source)
        if sender is not None and sender.target == segment.target:
            sender.icmp = True
            self.woken(sender)
