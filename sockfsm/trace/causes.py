"""Which calls of one socket caused a packet.

There are two ways to tell. By bytes: sequence numbers say which sends a segment's bytes came from,
however late they go out (Nagle, MSG_MORE, a full window) and however the kernel splits or merges
them. By time, where bytes cannot be counted (TLS, a sendall that failed half-way, datagrams): the
kernel stamps a packet while the call that sends it is running.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter

from sockfsm.events import Call, Cause, Process
from sockfsm.trace.decode import alive

# Packets carry wall time, calls monotonic time. The offset between the two clocks is measured, and
# the measurement may be wrong by this many ns.
SLACK = 20_000
# A larger error (ns) does not come from measuring: somebody set the clock, and no time can be trusted.
STEP = 1_000_000
# The most sends that MSG_MORE may have merged into one datagram: a bound on the search.
_GATHERED = 64
# The most calls of one socket that are assumed to run at the same time. It bounds the search that
# every packet makes.
LOOK_BACK = 8
BEGIN = attrgetter("begin")

# Methods that may put more, or fewer, bytes into the stream than the call reports.
_UNCOUNTED = frozenset({"sendall", "sendfile", "ssl.do_handshake", "ssl.write", "ssl.unwrap"})
_new = tuple.__new__

# The method under which the log records that the kernel has let go of a socket closed earlier.
RELEASED = "released"

SEVERAL = Cause("unknown", "several calls ran then")
NONE_FITS = Cause("unknown", "no call fits")
# A send that has not returned (it still blocks, or its process was killed) is not among the calls.
UNCOUNTED = Cause("unknown", "no send that has returned")
HELD = Cause("unknown", "closed before, held by another process")
PROCESS_ENDED = Cause("kernel", "process ended")


class Causes:
    """The calls of one socket that can cause a packet. Add them in any order, then call `finish`.

    processes: log -> process, for each process that used the socket. heard: log -> when its last
    call ended. slack: how far, in ns, a packet's time may be from the time of its call.
    """

    __slots__ = (
        "_begins",
        "_heard",
        "_latest",
        "_mixed",
        "_parallel",
        "_slack",
        "_upto",
        "countable",
        "others",
        "outlasted",
        "processes",
        "read",
        "sends",
    )  # fmt: skip

    def __init__(self, heard: dict[str, int], slack: int = SLACK) -> None:
        self.sends: list[Call] = []
        self.others: list[Call] = []  # connect, shutdown, close
        self.processes: dict[str, Process] = {}
        self.read = 0  # bytes that the program received
        self.outlasted = 0  # when the last call ended that was still running when the socket closed
        self.countable: int | None = None  # stream offset from which bytes cannot be counted
        self._heard, self._slack = heard, slack
        self._begins: list[int] = []
        self._upto: list[int] = [0]  # stream offsets: before the first send, then after each one
        self._latest = 0
        self._mixed = False  # some sends overlapped
        # Index of a send that overlapped others -> indices of the first and the last of them.
        self._parallel: dict[int, tuple[int, int]] = {}

    def add(self, call: Call) -> None:
        """Add one call that can cause a packet."""
        if call.call != "send":
            self.others.append(call)
            return
        begin, upto = call.begin, self._upto
        # Calls come in the order of their ends, so an earlier begin means that two overlapped.
        if begin < self._latest:
            self._mixed = True
        self._latest = call.end
        if self.countable is None and call.method in _UNCOUNTED and _uncounted(call):
            self.countable = upto[-1]
        self.sends.append(call)
        self._begins.append(begin)
        upto.append(upto[-1] + call.done)

    def finish(self) -> None:
        """Sort what was added."""
        self.others.sort(key=BEGIN)
        if not self._mixed:
            return
        # The log has calls in the order of their ends. Which of two overlapping sends put its bytes
        # into the stream first is not known: count anew, and remember which ones overlapped.
        sends = sorted(self.sends, key=BEGIN)
        self.sends, self._begins, self._upto, self.countable = [], [], [0], None
        latest = group = 0
        for place, call in enumerate(sends):
            if call.begin >= latest:
                self._gather(group, place)
                group = place
            latest = max(latest, call.end)
            self.add(call)
        self._gather(group, len(sends))

    def _gather(self, first: int, after: int) -> None:
        """Note that the sends from index `first` up to, not including, `after` overlapped."""
        if after - first > 1:
            self._parallel.update(dict.fromkeys(range(first, after), (first, after - 1)))

    def of_bytes(self, start: int, end: int, time: int) -> Cause | None:
        """The sends behind the stream bytes from `start` up to `end`; None where bytes cannot tell."""
        if self.countable is not None and end > self.countable:
            return None
        upto, sends = self._upto, self.sends
        first = last = bisect_right(upto, start) - 1
        if first >= len(sends):
            return None  # bytes that no logged send accounts for
        if upto[first + 1] < end:
            last = bisect_left(upto, end) - 1
            if last >= len(sends):
                return None
            calls = tuple([call for call in sends[first : last + 1] if call.done])
        else:
            calls = (sends[first],)
        if self._begins[last] > time + self._slack:
            return None
        if self._parallel and (self._divided(first, start, end) or self._divided(last, start, end)):
            return None
        return _new(
            Cause, ("call", "queued" if sends[last].end < time - self._slack else "", calls)
        )

    def _divided(self, place: int, start: int, end: int) -> bool:
        """Whether the send at `place` overlapped others whose bytes lie partly outside this span."""
        group = self._parallel.get(place)
        if group is None:
            return False
        first, last = group
        return self._upto[first] < start or self._upto[last + 1] > end

    def sending(self, time: int) -> Cause:
        """The one send that ran at `time`."""
        near = self._near(time)
        return SEVERAL if near is None else self._one(near, time)

    def _near(self, time: int) -> list[Call] | None:
        """The sends that may have run at `time`; None where there are too many to decide."""
        begins = self._begins
        last = bisect_right(begins, time + self._slack)
        first = max(last - LOOK_BACK, 0)
        if first and begins[first - 1] > time - self._slack:
            return None
        return self.sends[first:last]

    def opening(self, time: int) -> Cause:
        """The connect behind a SYN; with MSG_FASTOPEN it is a send."""
        cause = self.running(time, ("connect",))
        return cause if cause is not NONE_FITS else self.sending(time)

    def running(self, time: int, words: tuple[str, ...]) -> Cause:
        """The one call among `words` that ran at `time`, or a close() that took effect then."""
        cause = self._one([call for call in self.others if call.call in words], time)
        return self._let_go(time) if cause is NONE_FITS and "close" in words else cause

    def datagram(self, length: int, time: int) -> Cause:
        """The send of a datagram, or the sends that MSG_MORE merged into it."""
        near = self._near(time)
        if near is None:
            return SEVERAL
        ran = [call for call in near if call.end >= time - self._slack]
        fitting = self._one([call for call in ran if call.done == length], time)
        if fitting is not NONE_FITS or not ran:
            return fitting
        # No send has this length: count back from the latest one until the lengths add up.
        gathered, left = [], length
        last = bisect_right(self._begins, time + self._slack)
        for call in reversed(self.sends[max(last - _GATHERED, 0) : last]):
            gathered.append(call)
            left -= call.done
            if left <= 0:
                break
        if left == 0:
            return Cause("call", "", tuple(reversed(gathered)))
        return self._one(ran, time)

    def ending(self, time: int, sent: int) -> Cause:
        """The call that asked for a FIN: a shutdown, or the close of the last descriptor.

        sent: when the socket sent its last bytes. A FIN comes late only behind late bytes.
        """
        begun = [call for call in self.others if call.begin <= time + self._slack]
        for call in begun:
            if call.call in ("shutdown_wr", "shutdown_rdwr") and call.outcome == "ok":
                return self._called(call, time)
        closing = [call for call in begun if call.call == "close" and call.outcome == "ok"]
        now = self._one([call for call in closing if call.method != RELEASED], time)
        if now is NONE_FITS:
            now = self._let_go(time)
        if now is not NONE_FITS:
            return now
        # No close ran at that time. The FIN may be late because data went out late (a full window).
        if closing and len(self.processes) == 1 and closing[-1].end <= sent + self._slack:
            return self._called(closing[-1], time)
        # Or because a call on the socket outlasted the close.
        if closing and closing[-1].end <= time <= self.outlasted + self._slack:
            return self._called(closing[-1], time)
        if self.gone(time):
            return PROCESS_ENDED
        return HELD if closing else NONE_FITS

    def _let_go(self, time: int) -> Cause:
        """The close() that took effect only when another call on the socket had ended.

        The kernel holds a socket while a thread is blocked in a call on it, closed or not.
        """
        for released in self.others:
            if released.method != RELEASED or time > released.end + self._slack:
                continue
            asked = [
                call
                for call in self.others
                if call.call == "close"
                and call.outcome == "deferred"
                and call.begin <= min(time + self._slack, released.end)
            ]
            if asked:
                return self._called(asked[-1], time)
        return NONE_FITS

    def gone(self, time: int) -> bool:
        """Whether every process that used the socket had ended by then, according to their logs."""
        for log, process in self.processes.items():
            ended = process.ended
            if ended is None and not alive(process):
                ended = self._heard.get(log)  # killed: the log has no end, only a last call
            if ended is None or ended > time + self._slack:
                return False
        return bool(self.processes)

    def _called(self, call: Call, time: int) -> Cause:
        return Cause("call", "queued" if call.end < time - self._slack else "", (call,))

    def _one(self, calls: list[Call], time: int) -> Cause:
        """The one of `calls` that ran at `time`, as exactly as the clocks allow."""
        slack = self._slack
        # First with slack; where that leaves several, without.
        close = [
            c for c in calls if c.begin - slack <= time <= c.end + slack and c.outcome != "deferred"
        ]
        # Several ran within the slack: leave the slack away.
        if len(close) > 1:
            close = [c for c in close if c.begin <= time <= c.end] or close
        if len(close) == 1:
            return Cause("call", "", (close[0],))
        return SEVERAL if close else NONE_FITS


def _uncounted(call: Call) -> bool:
    """Whether a call of _UNCOUNTED may have put other bytes into the stream than it reports."""
    # A sendall that failed or timed out does not say how far it got.
    return call.method.startswith("ssl.") or (call.outcome != "ok" and call.asked > 0)
