"""Makes the view of a paced run: its actors, sockets, packets and choices, and what happened last."""

from __future__ import annotations

import re
from itertools import pairwise

from sockfsm import tcp_names
from sockfsm.events import Packet
from sockfsm.model.rfc9293 import TABLE
from sockfsm.model.rules import Rule
from sockfsm.model.teach import meant
from sockfsm.sim.clock import START
from sockfsm.sim.facts import DATAGRAMS
from sockfsm.sim.frames import LETTERS
from sockfsm.sim.network import Segment
from sockfsm.sim.run import Player
from sockfsm.sim.scenario import Step
from sockfsm.sim.sockets import PIPE, VirtualSocket
from sockfsm.sim.stepping import paced
from sockfsm.sim.stepping.paced import Deed, Paced
from sockfsm.sim.stepping.view import (
    BLOCKED,
    CALL,
    ENDED,
    PACKET,
    READY,
    RETURN,
    STUCK,
    TIMER,
    ActorView,
    Change,
    Choice,
    Happened,
    Line,
    PacketView,
    SocketView,
    View,
)  # fmt: skip
from sockfsm.sim.tcp import Tcb

_CODE = re.compile(r'(?:[^"#]|"(?:[^"\\]|\\.)*"?)*')
_KINDS = {paced.NEXT: CALL, paced.AGAIN: RETURN, paced.DELIVER: PACKET, paced.UNREACHABLE: PACKET}
_TIMERS = {
    paced.REPEAT: "no ACK: sends again",
    paced.PROBE: "window shut: sends a probe",
    paced.HELD: "sends the ACK held back",
    paced.KEEP: "keep-alive asks",
    paced.TIME_WAIT: "TIME-WAIT ends",
    paced.GIVE_UP: "FIN-WAIT-2 ends",
}
UNNAMED = "a timer"
_CAUSES = {PACKET: ("rcv_", "snd_"), CALL: ("snd_",), RETURN: ("snd_",), TIMER: ("timeout_",)}
"""What moves a connection when such an event happens: names of events of RFC 9293."""


class Looks:
    """Looks at a run."""

    def __init__(self, run: Paced) -> None:
        self._run = run
        self._written = run.scenario.text.splitlines()
        self._names: dict[VirtualSocket, str] = {}
        for player in run.players:
            for name, sock in player.sockets.items():
                self._names.setdefault(sock, f"{player.actor.name}.{name}")
        self._first: dict[tuple[object, object], int] = {}
        for packet in run.kernel.network.packets:
            if "S" in packet.flags:
                self._first[packet.source, packet.target] = packet.seq

    def view(self, steps: int, chosen: int) -> View:
        """All there is to see. chosen: the number of the choice that comes by itself, -1: the first."""
        run = self._run
        choices = tuple(self._choice(deed) for deed in run.deeds()) if not run.over else ()
        numbers = [choice.number for choice in choices]
        return View(
            run.scenario.title or run.scenario.file,
            run.clock.now - START,
            steps,
            tuple(map(self._actor, run.players)),
            tuple(self._sockets()),
            tuple(self._flying(deed) for deed in run.flying()) if not run.over else (),
            choices,
            chosen if chosen in numbers else next(iter(numbers), -1),
            self._happened() if run.last is not None else None,
            run.over,
            sum(
                step.verb in ("socket", "accept")
                for actor in run.scenario.actors
                for step in actor.steps
            )
            + 1,
            tuple(self._ending()),
        )

    # Actors

    def _actor(self, player: Player) -> ActorView:
        actor, run = player.actor, self._run
        lines = tuple(self._line(step) for step in actor.steps)
        ended = run.recorder.process(player).ended is not None
        doing, awaits = READY, ""
        if ended:
            doing = ENDED
        elif player.on is not None:
            doing, awaits = BLOCKED, self._awaited(player, player.on)
        elif player.place < len(lines):
            step = player.step
            if step.verb == "after" and step.name not in run.marks:
                doing, awaits = BLOCKED, f"{self._marker(step.name)} to mark {step.name}"
        if actor.name in run.stuck:
            doing = STUCK
        return ActorView(actor.name, actor.host, lines, player.place, doing, awaits)

    def _line(self, step: Step) -> Line:
        written = self._written
        if not 0 < step.line <= len(written):
            return Line(step.line, f"{step.name}.{step.verb}" if step.name else step.verb)
        found = _CODE.match(written[step.line - 1])
        assert found is not None
        comment = written[step.line - 1][found.end() :].lstrip("# ")
        return Line(step.line, found[0].strip(), comment)

    def _marker(self, name: str) -> str:
        for actor in self._run.scenario.actors:
            if any(step.verb == "mark" and step.name == name for step in actor.steps):
                return actor.name
        return "nobody"

    def _awaited(self, player: Player, sock: VirtualSocket) -> str:
        assert player.request is not None
        word, address = player.request.word, player.request.address
        peer = self._peer(sock)
        other = self._label(peer) if peer is not None else "the other end"
        if word == "accept":
            return "a connection in its queue"
        if word == "connect":
            held = self._run.kernel.names.held(address)
            if held is not None:
                return f"room in the queue of {self._label(held)}"
            return "the answer to its SYN"
        if word == "close":
            return "the ACK of its FIN"
        if word == "send":
            if sock.kind == "unix-dgram":
                held = self._run.kernel.names.held(address) if address is not None else peer
                other = self._label(held) if held is not None else other
            return f"room: {other} must read"
        if sock.kind in ("udp", "unix-dgram"):
            return "a datagram"
        return f"data or the end from {other}"

    def _peer(self, sock: VirtualSocket) -> VirtualSocket | None:
        if sock.peer is not None:
            return sock.peer
        if sock.end is not None:
            return sock.end.peer.owner if sock.end.peer is not None else None
        mine = sock.tcb
        if mine is None:
            return None
        ends = {(tcb.local, tcb.remote): sock for sock, tcb in self._tcp()}
        return ends.get((mine.remote, mine.local))

    def _tcp(self) -> list[tuple[VirtualSocket, Tcb]]:
        """The sockets that have a connection, or had one which is still known."""
        run = self._run
        had = [(s, tcb) for tcb, s in run.owners.items() if s.tcb is None]
        had = [(s, tcb) for s, tcb in had if tcb.state != tcp_names.CLOSED]
        return [(s, s.tcb) for s in run.kernel.everybody if s.tcb is not None] + had

    # Sockets

    def _label(self, sock: VirtualSocket) -> str:
        for player in self._run.players:
            if sock not in self._names and self._run.recorder.is_of(player)(sock):
                self._names[sock] = f"{player.actor.name}.#{sock.event.number}"
        return self._names[sock]

    def _sockets(self) -> list[SocketView]:
        run = self._run
        owned = {tcb for _, tcb in self._tcp()}
        alone = [tcb for tcb in run.connections() if tcb not in owned]
        return [
            *(self._socket(sock) for sock in run.kernel.everybody),
            *(self._connection(tcb) for tcb in alone if tcb.state != tcp_names.CLOSED),
        ]

    def _connection(self, tcb: Tcb) -> SocketView:
        return SocketView(
            self._tcb(tcb), "tcp", "", tcb.state, tcb.local, tcb.remote, len(tcb.received),
            len(tcb.sending), _full(tcb), error=tcb.error,
        )  # fmt: skip

    def _tcb(self, tcb: Tcb) -> str:
        """Whose connection it is."""
        own = [sock for sock, one in self._tcp() if one is tcb]
        if own or tcb in self._run.owners:
            return self._label(own[0] if own else self._run.owners[tcb])
        listener = self._run.kernel.names.receiver("tcp", *tcb.local) if tcb.passive else None
        if listener is None:
            return "(no socket)"
        return f"{self._label(listener).rpartition('.')[2]} queue"

    def _socket(self, sock: VirtualSocket) -> SocketView:
        tcb, end = dict(self._tcp()).get(sock), sock.end
        received = sending = datagrams = queue = None
        full, tcp, error = (False, False), "", sock.failure
        if sock.kind == "tcp" and sock.listening:
            tcp, queue = tcp_names.LISTEN, len(sock.queue)
        elif tcb is not None:
            tcp, error = tcb.state, tcb.error
            full = _full(tcb)
            if tcb.state != tcp_names.CLOSED or tcb.received:
                received, sending = len(tcb.received), len(tcb.sending)
        elif end is not None and sock.open:
            error = end.error
            received = len(end.received)
            sending = len(end.peer.received) if end.peer is not None else 0
            full = received >= PIPE, sending >= PIPE
        elif sock.listening and sock.open:
            queue = len(sock.queue)
        elif sock.kind in ("udp", "unix-dgram") and sock.open:
            datagrams, received = len(sock.datagrams), sum(len(d) for d, _ in sock.datagrams)
            full = sock.kind == "unix-dgram" and datagrams > DATAGRAMS, False
            error = "ECONNREFUSED" if sock.icmp else ""
        waiting = tuple(p.actor.name for p in self._run.players if p.on is sock)
        return SocketView(
            self._label(sock), sock.kind, sock.state, tcp, sock.name, self._target(sock), received,
            sending, full, datagrams, queue, sock.backlog, error, waiting,
        )  # fmt: skip

    def _target(self, sock: VirtualSocket) -> tuple[str, int] | str | None:
        if sock.target is None and sock.peer is not None:
            return sock.peer.name
        return sock.target

    # Packets and choices

    def _flying(self, deed: Deed) -> PacketView:
        segment: Segment = deed.about
        return self._packet(
            segment.protocol, _letters(segment),
            segment.source, segment.target, segment.seq, segment.ack, len(segment.data),
            deed.due - START,
        )  # fmt: skip

    def _packet(
        self, protocol: str, flags: str, source: tuple[str, int], target: tuple[str, int], seq: int,
        ack: int, length: int, due: int | None,
    ) -> PacketView:  # fmt: skip
        """With numbers from 0 on where the SYNs are known."""
        seq = (seq - self._first.get((source, target), 0)) % 2**32
        ack = (ack - self._first.get((target, source), 0)) % 2**32 if "A" in flags else 0
        return PacketView(protocol, flags, source, target, seq, ack, length, due)

    def _choice(self, deed: Deed, place: int | None = None) -> Choice:
        """An event. place: the step of its actor, by default the one at which he is."""
        kind = _KINDS.get(deed.method, TIMER)
        due, number, about = deed.due - START, deed.number, deed.about
        if kind == PACKET:
            if deed.method is paced.DELIVER:
                return Choice(number, kind, "", "", due, self._flying(deed))
            host, port = about.target
            text = f"ICMP: nobody has port {port} of {host}"
            return Choice(number, kind, "", text, due)
        if isinstance(about, Player):
            name = about.actor.name
            place = about.place if place is None else place
            if place >= len(about.actor.steps):
                return Choice(number, kind, name, "ends", due)
            step = about.actor.steps[place]
            text = self._line(step).text
            if kind == TIMER:
                text = f"the timeout of {step.name}.{step.verb}"
            return Choice(number, kind, name, text, due)
        return Choice(number, kind, self._tcb(about), _TIMERS.get(deed.method, UNNAMED), due)

    # What happened

    def _happened(self) -> Happened:
        run = self._run
        assert run.last is not None
        deed, lost = run.last
        choice = self._choice(deed, run.before.place)
        changes = tuple(self._changes(choice.kind))
        unmet = tuple(failure.text for failure in run.new_failures() if failure.kind == "expected")
        sent = tuple(self._sent())
        answered = run.answered
        if answered is None:
            return Happened(choice, lost, changes=changes, unmet=unmet, sent=sent)
        entry, answer, sock = answered.rule, answered.answer, answered.sock
        why, source = (entry.why, entry.source) if entry is not None else ("", "")
        outcome, state, value, advice = "", "", None, ""
        if answer is not None:
            outcome, state = answer.outcome, answer.before
            value = answer.value if isinstance(answer.value, bytes) else None
            if outcome == "timeout":
                why, source = "nothing came before the timeout", ""
            if answered.refused and sock is not None:
                advice = meant(sock.kind, state, answered.request.word, outcome)
        elif sock is not None:
            state = sock.state
        return Happened(
            choice, lost, outcome, value, state, answered.refused, answered.illegal, why, source,
            advice, unmet, changes, sent,
        )  # fmt: skip

    def _changes(self, kind: str) -> list[Change]:
        run = self._run
        found = []
        for tcb in run.connections():
            seen = run.before.visited.get(tcb, 0)
            states = tcb.visited[max(seen - 1, 0) :]
            if not seen and tcb.passive:
                states[0] = tcp_names.LISTEN
            for before, after in pairwise(states):
                entry = _moved(before, after, kind)
                why, source = (entry.why, entry.source) if entry is not None else ("", "")
                found.append(Change(self._tcb(tcb), before, after, True, why, source))
        for sock in run.kernel.everybody:
            was = run.before.states.get(sock, "START")
            if was != sock.state:
                found.append(Change(self._label(sock), was, sock.state, False))
        return found

    def _sent(self) -> list[PacketView]:
        """The packets that were sent, with those that the network has lost."""
        run = self._run
        flying: list[tuple[object, ...]] = [
            (s.source, s.target, s.seq, _letters(s), len(s.data), deed.due)
            for deed in run.flying()
            if (s := deed.about) and deed.number > run.before.number
        ]
        found = []
        for packet in run.kernel.network.packets[run.before.packets :]:
            due = _arrival(packet, flying)
            assert isinstance(packet.source, tuple)
            assert isinstance(packet.target, tuple)
            found.append(
                self._packet(
                    packet.protocol, packet.flags, packet.source, packet.target, packet.seq,
                    packet.ack, packet.length, due,
                )
            )  # fmt: skip
        return found

    def _ending(self) -> list[str]:
        run = self._run
        if not run.over:
            return []
        found = [str(failure) for failure in run.unmet]
        expected = [f"as expected: {f}" for f in run.failures if f not in run.unmet]
        return found + expected


def _full(tcb: Tcb) -> tuple[bool, bool]:
    """Whether its window is shut, and whether its send buffer takes no more."""
    return bool(tcb.received) and tcb.edge <= tcb.next_in, tcb.space <= 0


def _moved(before: str, after: str, kind: str) -> Rule | None:
    """The arrow of RFC 9293 by which a connection has moved."""
    for cause in _CAUSES[kind]:
        for entry in TABLE.rules:
            fits = all(condition.holds(before) for condition in entry.when)
            if entry.call.startswith(cause) and fits and entry.then.get("state") == after:
                return entry
    return None


def _arrival(packet: Packet, flying: list[tuple[object, ...]]) -> int | None:
    """When a packet that was sent arrives; None where the network has lost it."""
    key = (packet.source, packet.target, packet.seq, packet.flags, packet.length)
    for place, (*other, due) in enumerate(flying):
        if tuple(other) == key:
            del flying[place]
            assert isinstance(due, int)
            return due - START
    return None


def _letters(segment: Segment) -> str:
    return LETTERS[segment.flags] if segment.protocol == "tcp" else ""
