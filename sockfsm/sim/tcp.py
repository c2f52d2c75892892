"""One end of a simulated TCP connection: RFC 9293, with real segments.

Its states and what moves them are the table in `model/rfc9293.py`: this module says which event an
arriving segment or a call is, and the table says what becomes of the state. When it acknowledges
stands in `tcp_acks.py`, how long it waits in `tcp_rto.py`. It has no congestion control, scale or SACK.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from sockfsm import tcp_names
from sockfsm.model.rfc9293 import TABLE
from sockfsm.sim.clock import Clock, Event
from sockfsm.sim.frames import ACK, FIN, PSH, RST, SYN, Name
from sockfsm.sim.network import Segment
from sockfsm.sim.tcp_acks import LEAST, MS, Acknowledging
from sockfsm.sim.tcp_keep import Keeping
from sockfsm.sim.tcp_rto import Timeout

TIME_WAIT = 60_000 * MS  # TCP_TIMEWAIT_LEN and tcp_fin_timeout of Linux
TICK = MS  # a kernel's timers are never early, and late by a part of this
SYN_RETRIES, RETRIES = 6, 15
BUFFER = 131_072  # the default of net.ipv4.tcp_rmem; without scaling, windows are smaller

_OPENING = (tcp_names.SYN_SENT, tcp_names.SYN_RECEIVED)
_SENDS = (
    tcp_names.ESTABLISHED,
    tcp_names.CLOSE_WAIT,
    tcp_names.FIN_WAIT_1,
    tcp_names.CLOSING,
    tcp_names.LAST_ACK,
)
_TAKES = (tcp_names.ESTABLISHED, tcp_names.FIN_WAIT_1, tcp_names.FIN_WAIT_2)


@cache
def after(state: str, event: str) -> str:
    """The state after an event, by the table of RFC 9293; KeyError where it has none."""
    entry = TABLE.predict(event, (state,), {})
    if entry is None:
        raise KeyError(f"{event} in {state}")
    return TABLE.after(entry, (state,))[0]


class Tcb:
    """A connection's end. `changed` is called whenever a blocked call may have its answer.

    Sequence numbers are kept without the wrap at 2^32. error: why the connection failed, an errno's
    name. ended: the peer's FIN has come. orphan: the program has closed its socket.
    """

    def __init__(
        self, clock: Clock, send: Callable[[Segment], None], changed: Callable[[Tcb], None],
        local: Name, remote: Name, iss: int, mss: int,
    ) -> None:  # fmt: skip
        self.clock, self.send_segment, self.changed = clock, send, changed
        self.local, self.remote, self.mss = local, remote, mss
        self.state = tcp_names.CLOSED
        self.visited = [tcp_names.CLOSED]
        self.error = ""
        self.ended = self.orphan = self.read_shut = self.nodelay = False
        self.passive = False
        self.una = self.nxt = self.most = self.iss = iss
        self.window = 0
        self.next_in = self.edge = 0
        self.buffer, self.room = BUFFER, BUFFER
        self.sending, self.received = bytearray(), bytearray()
        self.fin_wanted = False
        self._early: dict[int, bytes] = {}
        self._fin_in: int | None = None
        self._fin_out: int | None = None
        self._timer: Event | None = None
        self._small = iss
        self._rto = Timeout()
        self._acks = Acknowledging(mss, 0)
        self._held: Event | None = None
        self._keep: Keeping | None = None

    # What the program asks for

    def open(self) -> None:
        """Active OPEN: send a SYN."""
        self._move("snd_syn")
        self.nxt = self.most = self.iss + 1
        self._rto.begin(self.nxt, self.clock.now)
        self._emit(SYN, self.iss)
        self._arm()

    def answer(self, segment: Segment) -> None:
        """Passive OPEN has got a SYN: answer it."""
        self.passive = True
        self.state = tcp_names.LISTEN
        self._synchronize(segment)
        self._move("rcv_syn")
        self._move("snd_syn_ack")
        self.nxt = self.most = self.iss + 1
        self._rto.begin(self.nxt, self.clock.now)
        self._emit(SYN | ACK, self.iss)
        self._arm()

    @property
    def space(self) -> int:
        """Bytes that the send buffer still takes."""
        return self.room - len(self.sending)

    def write(self, data: bytes) -> int:
        """Queue data; how much was taken."""
        taken = data[: self.space]
        self.sending += taken
        self._output()
        return len(taken)

    def read(self, most: int, peek: bool = False) -> bytes:
        """Take what was received."""
        data = bytes(self.received[:most])
        if not peek:
            del self.received[:most]
            # Tell of the window when it opens by something worth while (RFC 9293, 3.8.6.2.2).
            opens = self._free() - (self.edge - self.next_in) >= self._step()
            if self._acks.when_read(self.next_in, not self.received) or (
                opens and self.state in _TAKES
            ):
                self._acknowledge()
        return data

    def finish(self) -> None:
        """Send FIN after all that is queued."""
        if not self.fin_wanted and self.state in (
            tcp_names.ESTABLISHED,
            tcp_names.CLOSE_WAIT,
            tcp_names.SYN_RECEIVED,
        ):
            self.fin_wanted = True
            self._output()

    def close(self) -> None:
        """The program holds it no more. Unread data make it a reset (RFC 9293, 3.6.1; RFC 2525)."""
        self.orphan = True
        if self.state == tcp_names.SYN_SENT:
            self._end("")
        elif self.received or self._early:
            self.abort()
        else:
            self.finish()
            if self.state == tcp_names.FIN_WAIT_2:
                self.clock.after(TIME_WAIT, partial(self._end, ""), background=True)

    def abort(self, error: str = "") -> None:
        """Reset the connection."""
        if self.state not in (tcp_names.CLOSED, tcp_names.SYN_SENT, tcp_names.TIME_WAIT):
            self._emit(RST | ACK, self.nxt)
        self._end(error, "snd_rst")

    # What arrives

    def arrive(self, segment: Segment) -> None:
        """A segment for this connection (RFC 9293, 3.10.7)."""
        if self.state == tcp_names.CLOSED:
            return
        if self._keep is not None:
            self._keep.heard()
        if self.state == tcp_names.SYN_SENT:
            self._arrive_opening(segment)
        else:
            self._arrive_open(segment)
        self.changed(self)

    def _arrive_opening(self, segment: Segment) -> None:
        flags = segment.flags
        good = bool(flags & ACK) and segment.ack == (self.iss + 1) % 2**32
        if flags & ACK and not good:
            return
        if flags & RST:
            if good:
                self._end("ECONNREFUSED", "rcv_rst")
            return
        if not flags & SYN:
            return
        self._synchronize(segment)
        if good:
            self._acked(self.iss + 1, segment.window)
            self._move("rcv_ack_syn")
            self._acknowledge()
            self._output()
        else:
            self._move("rcv_syn")
            self._move("snd_syn_ack")
            self._emit(SYN | ACK, self.iss)

    def _synchronize(self, segment: Segment) -> None:
        self.next_in = self.edge = self._acks.told = segment.seq + 1
        self.window = segment.window
        if segment.mss:
            self.mss = min(self.mss, segment.mss)

    def _arrive_open(self, segment: Segment) -> None:
        flags, data = segment.flags, segment.data
        seq = self.next_in + _signed(segment.seq - self.next_in)
        length = len(data) + bool(flags & FIN)
        if self.state == tcp_names.SYN_RECEIVED and flags & SYN and seq + 1 == self.next_in:
            if not flags & ACK:  # the SYN again: the answer was lost
                self._move("rcv_syn")
                self._emit(SYN | ACK, self.iss)
                self._arm()
                return
            self._move("rcv_syn_ack")  # simultaneous open: the other end answers ours
        elif not (self.next_in - self.buffer <= seq <= self.next_in + self.buffer) or (
            seq + length < self.next_in or (seq < self.next_in and length == 0)
        ):
            if not flags & RST:
                self._acknowledge()
            return
        elif flags & RST:
            self._reset()
            return
        elif flags & SYN:
            self._acknowledge()  # a challenge (RFC 5961)
            return
        if not flags & ACK:
            return
        if not self._acknowledged(segment):
            return
        if data and (self.orphan or (self.read_shut and self.state != tcp_names.ESTABLISHED)):
            # It answers the segment, and so has what that acknowledges (RFC 9293, 3.10.7.1).
            self._emit(RST, segment.ack)
            self._end("ECONNRESET", "snd_rst")
            return
        if length:
            self._take(seq, data, bool(flags & FIN))
        elif flags & SYN:
            self._acknowledge()
        self._output()

    def _reset(self) -> None:
        if self.state == tcp_names.SYN_RECEIVED:
            error = "" if self.passive else "ECONNREFUSED"
        else:
            error = "EPIPE" if self.state == tcp_names.CLOSE_WAIT else "ECONNRESET"
        self._end(error, "rcv_rst")

    def _acknowledged(self, segment: Segment) -> bool:
        ack = self.una + _signed(segment.ack - self.una)
        if ack > self.most:
            self._acknowledge()
            return False
        opening = self.state == tcp_names.SYN_RECEIVED
        if ack >= self.una:
            self._acked(ack, segment.window)
        if opening and ack > self.iss:
            self._move("rcv_ack_syn")
        if self._fin_out is not None and ack > self._fin_out:
            self._fin_out = None
            self._move("rcv_ack_fin")
            if self.state == tcp_names.CLOSED:
                self._end("")
            elif self.state == tcp_names.TIME_WAIT:
                self._linger()
            elif self.state == tcp_names.FIN_WAIT_2 and self.orphan:
                self.clock.after(TIME_WAIT, partial(self._end, ""), background=True)
        return self.state != tcp_names.CLOSED

    def _acked(self, ack: int, window: int) -> None:
        self.window = window
        if ack == self.una:
            return
        # The SYN takes a number, and no place in the buffer; the FIN comes after the buffer's end.
        del self.sending[: ack - max(self.una, self.iss + 1)]
        self.una = ack
        self.nxt = max(self.nxt, ack)
        self._rto.acknowledged(ack, self.clock.now)
        self._arm()

    def _take(self, seq: int, data: bytes, fin: bool) -> None:
        if fin:
            self._fin_in = seq + len(data)
        took = self.next_in
        if data and self.state in _TAKES:
            self._early[seq] = max(self._early.get(seq, b""), data, key=len)
            for place in sorted(self._early):
                if place <= self.next_in:
                    piece = self._early.pop(place)[self.next_in - place :]
                    piece = piece[: max(self._free(), 0)]
                    self.received += piece
                    self.next_in += len(piece)
        if self._fin_in == self.next_in:
            self._fin_in = None
            self.next_in += 1
            self.ended = True
            self._move("rcv_fin")
            if self.state == tcp_names.TIME_WAIT:
                self._acknowledge()
                self._linger()
                return
            if self.state == tcp_names.CLOSE_WAIT:
                self._acks.owed = self._acks.dialogue = True  # our FIN may be near
        if self.next_in == took or self._early or self.state == tcp_names.CLOSING:
            self._acknowledge()  # a gap, or what was there before: the other end is to know
            return
        if data:
            window = self._free()
            self._acks.came(self.clock.now, len(data), self.mss, window, self._rto.value)
        if not self._acks.at_once(self.next_in):
            self._hold()
        elif not self._sends_now():
            self._acknowledge()

    def _sends_now(self) -> bool:
        """Whether data that wait to be sent will carry the acknowledgement at once."""
        self._output()
        return not self._acks.owed

    def _hold(self) -> None:
        """Acknowledge later, unless something is sent before."""
        if self._held is None or self._held.cancelled:
            self._held = self.clock.after(LEAST, self._held_long)

    def _held_long(self) -> None:
        self._held = None
        if self._acks.owed and self.state != tcp_names.CLOSED:
            self._acks.late()
            self._acknowledge()

    # What is sent

    def _free(self) -> int:
        return min(self.buffer - len(self.received), 0xFFFF)

    def _step(self) -> int:
        return min(self.mss, self.buffer // 2)

    def _acknowledge(self) -> None:
        self._emit(ACK, self.nxt)

    def _emit(self, flags: int, seq: int, data: bytes = b"") -> None:
        if flags & ACK:
            if self._held is not None:
                self._held.cancelled = True
                self._held = None
            if data:
                self._acks.answered(self.clock.now)
            self._acks.sent(self.next_in)
            free = self._free()
            # A window that opens by little is not told, one that was told is not taken back.
            if self.next_in + free - self.edge >= self._step() or free >= self._step():
                self.edge = max(self.edge, self.next_in + free)
        window = max(self.edge - self.next_in, 0) if flags & ACK else self._free()
        ack = self.next_in % 2**32 if flags & ACK else 0
        mss = self.mss if flags & SYN else 0
        self.send_segment(
            Segment("tcp", self.local, self.remote, seq % 2**32, ack, flags, window, data, mss)
        )

    def _output(self) -> None:
        """Send what the window lets through, FIN last."""
        if self.state not in _SENDS:
            return
        first = max(self.una, self.iss + 1)
        while True:
            place = self.nxt - first
            waiting = len(self.sending) - place
            fits = min(waiting, self.mss, self.una + self.window - self.nxt)
            if fits <= 0:
                break
            small = fits < self.mss and fits == waiting
            if small and self.nxt >= self.most and self._nagle():
                break
            data = bytes(self.sending[place : place + fits])
            if self.nxt >= self.most:
                self._rto.begin(self.nxt + fits, self.clock.now)
            if fits < self.mss:
                self._small = self.nxt + fits
            fin = self._fin_due(place + fits)
            self._send_data(data, fin, fits == waiting)
        if self._fin_due(self.nxt - first):
            self._send_data(b"", True, False)
        if self._timer is None:
            self._arm()

    def _nagle(self) -> bool:
        """Whether a small segment has to wait for another one to be acknowledged (3.7.4)."""
        return self._small > self.una and not self.nodelay and not self.fin_wanted

    def _fin_due(self, place: int) -> bool:
        return (
            self.fin_wanted
            and place == len(self.sending)
            and (self._fin_out is None or self.nxt <= self._fin_out)
            and self.state in _SENDS
            and not (
                self._fin_out is None
                and self.state not in (tcp_names.ESTABLISHED, tcp_names.CLOSE_WAIT)
            )
        )

    def _send_data(self, data: bytes, fin: bool, push: bool) -> None:
        flags = ACK | (PSH if push else 0) | (FIN if fin else 0)
        seq = self.nxt
        self.nxt += len(data) + fin
        self.most = max(self.most, self.nxt)
        if fin:
            self._fin_out = self.nxt - 1
            self._move("snd_fin")
        self._emit(flags, seq, data)

    # Timers

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancelled = True
            self._timer = None
        if self.most > self.una:
            self._timer = self.clock.after(self._rto.value + TICK, self._expired, background=False)
        elif self.sending and self.state in _SENDS and self.window < len(self.sending):
            self._timer = self.clock.after(self._rto.value, self._probe, background=True)

    def _expired(self) -> None:
        """Nothing was acknowledged in time: go back, wait twice as long (RFC 6298, 5.4 to 5.6)."""
        self._timer = None
        self._rto.tries += 1
        if self._rto.tries > (SYN_RETRIES if self.state in _OPENING else RETRIES):
            self._end("ETIMEDOUT")
            self.changed(self)
            return
        self._rto.back_off()
        if self.state == tcp_names.SYN_SENT:
            self._move("snd_syn")
            self._emit(SYN, self.iss)
        elif self.state == tcp_names.SYN_RECEIVED:
            self._move("snd_syn_ack")
            self._emit(SYN | ACK, self.iss)
        else:
            self.nxt = self._small = self.una
            window, self.window = self.window, max(self.window, 1)
            self._output()
            self.window = window
        self._arm()

    def _probe(self) -> None:
        """Ask whether the window is still shut, by a segment that must be answered (3.8.6.1)."""
        self._timer = None
        self._rto.back_off()
        self._emit(ACK, self.una - 1)
        self._arm()

    def keep_alive(self, idle: int) -> None:
        """Ask after the other end whenever nothing has come for so many ns."""
        if self._keep is None:
            self._keep = Keeping(self.clock, idle, self._ask, self._give_up)

    def _ask(self) -> None:
        if self.state in (tcp_names.ESTABLISHED, tcp_names.CLOSE_WAIT):
            self._emit(ACK, self.nxt - 1)

    def _give_up(self) -> None:
        self.abort("ETIMEDOUT")
        self.changed(self)

    def _linger(self) -> None:
        if self._timer is not None:
            self._timer.cancelled = True
        deed = self._expire_wait
        self._timer = self.clock.after(TIME_WAIT, deed, background=True)

    def _expire_wait(self) -> None:
        self._timer = None
        if self.state == tcp_names.TIME_WAIT:
            self._move("timeout_2msl")
            self.changed(self)

    def _move(self, event: str) -> None:
        state = after(self.state, event)
        if state != self.state:
            self.state = state
            self.visited.append(state)

    def _end(self, error: str, event: str = "") -> None:
        if self.state == tcp_names.CLOSED and not error:
            self.changed(self)
        if self.state != tcp_names.CLOSED:
            if event:
                self._move(event)
            else:  # given up: nobody is told
                self.state = tcp_names.CLOSED
                self.visited.append(tcp_names.CLOSED)
        self.error = self.error or error
        self.sending.clear()
        for timer in (self._timer, self._held):
            if timer is not None:
                timer.cancelled = True
        if self._keep is not None:
            self._keep.end()
        self._timer = self._held = None


def _signed(difference: int) -> int:
    """A difference of sequence numbers, in 32 bits with a sign."""
    return (difference + 2**31) % 2**32 - 2**31
