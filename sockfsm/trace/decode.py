"""Decodes the records and notes of one log into events. `record.layout` has their format."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from typing import Any, TypeVar

from sockfsm.events import Address, Call, Process, Site, Socket, Thread, Wait
from sockfsm.model.errnos import errno_name
from sockfsm.model.kinds import KINDS, flat_of
from sockfsm.model.stepping import GONE
from sockfsm.record.layout import (
    ADDRESS,
    AFTER,
    BEFORE,
    BEGUN,
    BIRTHS,
    ENFORCED,
    ERRNO,
    ERROR,
    INET,
    METHODS,
    MOST,
    NOTED,
    OUTCOME,
    OUTCOMES,
    REFUSED,
    UNEXPLAINED,
    WAITED,
    inet_name,
)
from sockfsm.record.logs import LogFiles, mapped
from sockfsm.record.names import label
from sockfsm.record.reader import Hole, LogReader
from sockfsm.record.writer import Fields

_UNKNOWN = 0xFFF
_NUMBERED = 1 << 16
_KEPT_GONE = 64
_T = TypeVar("_T")

_DAMAGE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
_Ready = tuple[str, str, str, int, tuple[Any, ...]]
"""method, call, outcome, errno, and from `before` to `predicted`."""


class Decoder:
    """Decodes one log. Remembers what the notes have said so far."""

    def __init__(self, log: str, sockets: dict[tuple[str, int], Socket]) -> None:
        self.log = log
        self.process = Process(0, 0, log, (), 0, 0, name="0")
        self.unseen: list[str] = []
        """What the tracer could not trace, as it noted itself."""
        self._sockets = sockets
        self.dropped = self.dropped_until = 0
        """How many old calls were dropped from the log, and when last (monotonic ns)."""
        self._inherits = 0
        self.parent = ""
        """The log of the process that this one was forked from, and inherited sockets from."""
        self._methods: tuple[tuple[str, str], ...] = METHODS
        self._sites: dict[int, Site] = {}
        self._addresses: dict[int, Address] = {}
        self._kinds: dict[int, tuple[str, list[str]]] = {}
        self._accepted: dict[int, tuple[Socket | None, Address | None]] = {}
        self._open: dict[int, Fields] = {}  # thread -> the record of its blocked call
        self._kind_numbers: dict[int, int] = {}
        self._heads: dict[str, dict[int, _Ready]] = {}
        self._known: dict[int, tuple[Socket, dict[int, _Ready]]] = {}
        self._gone: deque[int] = deque()  # numbers of closed sockets that are not forgotten yet

    @property
    def blocked(self) -> list[Wait]:
        """The calls that blocked and have not ended."""
        blocked = []
        for begin, _, head, number, site, thread, _, _ in self._open.values():
            socket, method = self._socket(number), self._methods[head & 0xFF][0]
            place = self._sites.get(site)
            blocked.append(Wait(begin, None, self._thread(thread), socket, method, place))
        return blocked

    def _thread(self, number: int) -> Thread:
        who = self.process.threads.get(number)
        if who is None:
            who = self.process.threads[number] = Thread(number, 0, "")
        return who

    def forget(self, call: Call) -> None:
        """Forget the sockets that are gone, for a decoder that lives as long as its program.

        The latest ones are kept: a path may be unlinked, or a closed socket be used, only now.
        """
        if call.socket is None or not call.moved or call.after not in GONE:
            return
        self._gone.append(call.socket.number)
        if len(self._gone) > _KEPT_GONE:
            number = self._gone.popleft()
            self._sockets.pop((self.log, number), None)
            self._known.pop(number, None)
            self._kind_numbers.pop(number, None)

    def threads_live(self, living: Container[int]) -> None:
        """Forget all threads but the `living`, for a decoder that lives as long as its program."""
        for number in list(self.process.threads):
            if number not in living:
                self.process.threads.pop(number, None)
                self._accepted.pop(number, None)
                self._open.pop(number, None)

    def note(self, note: dict[str, Any]) -> None:
        """Decode one note."""
        for key, take in _NOTES.items():
            if key in note:
                take(self, note)
                return

    def _site(self, note: dict[str, Any]) -> None:
        _remember(self._sites, note["site"], Site(note["file"], note["line"], note["function"]))

    def _name(self, note: dict[str, Any]) -> None:
        _remember(self._addresses, note["address"], _address(note["is"]))

    def _abstract(self, note: dict[str, Any]) -> None:
        _remember(self._addresses, note["abstract"], note["is"].encode("latin-1", "replace"))

    def _begun(self, note: dict[str, Any]) -> None:
        number = note["thread"]
        self.process.threads[number] = Thread(number, note["ident"], note["name"])

    def _over(self, note: dict[str, Any]) -> None:
        self.process.threads.pop(note["thread ended"], None)

    def _kind(self, note: dict[str, Any]) -> None:
        self._kinds[note["kind"]] = note["name"], note["states"]

    def _ends(self, note: dict[str, Any]) -> None:
        socket = self._socket(note["socket"])
        if socket is not None:
            socket.local = _address(note["local"]) or socket.local
            socket.remote = _address(note["remote"]) or socket.remote

    def _unseen(self, note: dict[str, Any]) -> None:
        self.unseen.append(f"{note['unseen']}: {note['why']}")

    def _clock(self, note: dict[str, Any]) -> None:
        self.process.clock = note["clock"]

    def _ended(self, note: dict[str, Any]) -> None:
        self.process.ended = note["ended"]

    def _header(self, note: dict[str, Any]) -> None:
        process = self.process
        process.pid, process.parent = note["pid"], note["parent"]
        process.name = label(note["pid"], note.get("log", self.log))
        process.command = tuple(note["command"])
        process.clock, process.started = note["wall"] - note["monotonic"], note["monotonic"]
        self._methods = tuple(map(tuple, note["methods"]))
        self._inherits, self.parent = note["inherits"], note["from"]
        dropped, until = note.get("dropped", 0), note.get("dropped_until", 0)
        if isinstance(dropped, int) and isinstance(until, int):
            self.dropped, self.dropped_until = dropped, until

    def _socket(self, number: int) -> Socket | None:
        """The socket with this number, which may have been inherited by fork."""
        socket = self._sockets.get((self.log, number))
        if socket is None and number < self._inherits:
            socket = self._sockets.get((self.parent, number))
            if socket is not None:
                self._sockets[self.log, number] = socket
        return socket

    def record(self, fields: Fields) -> Call | None:
        """Decode one record. None if it only says that a call began to block."""
        begin, end, head, number, site, thread, asked, done = fields
        if head & BEGUN:
            if head & 0xFF >= len(self._methods):
                raise IndexError(head & 0xFF)
            self._open[thread] = fields
            return None
        known = self._known.get(number)
        if known is None or head not in known[1]:
            return self._record(fields)
        # This runs for each of millions of calls: what many records have in common is cached.
        socket, heads = known
        method, word, outcome, error, rest = heads[head]
        who, place = self._thread(thread), self._sites.get(site)
        if thread in self._open:
            self._open.pop(thread, None)
        told = (
            begin, end, self.process, who, socket, method, word, outcome, error, asked, done,
            None, place,
        )  # fmt: skip
        return tuple.__new__(Call, told + rest)

    def _record(self, fields: Fields) -> Call | None:
        begin, end, head, number, site, thread, asked, done = fields
        method, word = self._methods[head & 0xFF]
        who, place = self._thread(thread), self._sites.get(site)
        address: Address | None = None
        form = head >> ADDRESS & 3
        socket: Socket | None
        if word in BIRTHS:
            socket = self._birth(fields, method, word)
            asked = done = 0
        else:
            socket = self._socket(number)
            if form == INET:
                address = inet_name(done)
                self._names(socket, word, address, asked, done, thread)
                asked = done = 0
            elif form == NOTED:
                address = self._addresses.get(done >> 32)
                done &= MOST
                ok = not head >> OUTCOME & 7
                address = self._noted(socket, word, address, thread, named=ok)
            elif word == "accept":
                self._accepted[thread] = socket, None
        code = head >> OUTCOME & 7
        error = head >> ERRNO & 0xFFFF
        outcome = errno_name(error) if code == ERROR else OUTCOMES[code]
        self._open.pop(thread, None)
        before, after = self._states(socket, head, number)
        predicted = ""
        if head & REFUSED and socket is not None:
            predicted = outcome if code == ERROR else _refusal(socket.kind, before, word)
        call = Call(
            begin,
            end,
            self.process,
            who,
            socket,
            method,
            word,
            outcome,
            error,
            asked,
            done,
            address,
            place,
            before,
            after,
            bool(head & WAITED),
            not head & UNEXPLAINED,
            bool(head & ENFORCED),
            predicted,
        )
        if socket is not None and not form and word not in BIRTHS and word != "accept":
            heads = self._heads.setdefault(socket.kind, {})
            heads[head] = call.method, call.call, call.outcome, call.errno, tuple(call[13:])
            self._known[number] = socket, heads
        return call

    def _states(self, socket: Socket | None, head: int, number: int) -> tuple[str, str]:
        if socket is None:
            return "", ""
        key = self._kind_numbers.get(number)
        if key is None:
            key = next((k for k, kind in self._kinds.items() if kind[0] == socket.kind), -1)
            self._kind_numbers[number] = key
        kind = self._kinds.get(key)
        if kind is None:
            return "?", "?"
        states = kind[1]
        before, after = head >> BEFORE & _UNKNOWN, head >> AFTER & _UNKNOWN
        if before >= len(states) or after >= len(states):
            return "?", "?"
        return states[before], states[after]

    def _birth(self, fields: Fields, method: str, word: str) -> Socket:
        asked, done, number, thread = fields[6], fields[7], fields[3], fields[5]
        known = self._socket(number)
        if known is not None:
            known.descriptor = done & MOST
            return known
        kind = self._kinds.get(asked >> 16 & 0xFF, ("other", []))[0]
        born = Socket(
            f"{self.process.name}.{number}",
            number,
            self.process,
            kind,
            asked & 0xFF,
            asked >> 8 & 0xFF,
            done >> 32 & 0xFFFF,
            -1 if done & MOST == MOST else done & MOST,
            method if word == "adopt" else word,
        )
        if word == "accepted":
            listening, peer = self._accepted.get(thread, (None, None))
            born.remote = peer
            if listening is not None:
                born.parent, born.local = listening.identity, listening.local
        self._sockets[self.log, number] = born
        return born

    def _names(
        self,
        socket: Socket | None,
        word: str,
        address: Address,
        asked: int,
        done: int,
        thread: int,
    ) -> None:
        if word == "accept":
            self._accepted[thread] = socket, address
            return
        if socket is None or not asked:
            return
        local = inet_name(asked | done >> 48 << 32)
        socket.local = local
        if word == "connect":
            socket.remote = address

    def _noted(
        self, socket: Socket | None, word: str, address: Address | None, thread: int, *, named: bool
    ) -> Address | None:
        if isinstance(address, tuple) and address and isinstance(address[0], tuple):
            address = address[0]
        if word == "accept":
            self._accepted[thread] = socket, address
        elif socket is not None and word == "bind" and named:
            socket.local = address
        elif socket is not None and word == "connect":
            socket.remote = address
        return address


_NOTES: dict[str, Callable[[Decoder, dict[str, Any]], None]] = {
    "site": Decoder._site,
    "address": Decoder._name,
    "abstract": Decoder._abstract,
    "thread": Decoder._begun,
    "thread ended": Decoder._over,
    "kind": Decoder._kind,
    "socket": Decoder._ends,
    "pid": Decoder._header,
    "unseen": Decoder._unseen,
    "clock": Decoder._clock,
    "ended": Decoder._ended,
}
"""The key that tells a note's sort -> its decoder. Other notes are not about the program."""


def _refusal(kind: str, state: str, word: str) -> str:
    """The errno with which the machine refuses a call that succeeded all the same."""
    flat = flat_of(kind) if kind in KINDS else None
    rule = flat.refusal(state, word) if flat is not None and state in flat.states else None
    return rule.outcome if rule is not None else "EPERM"


def _remember(table: dict[int, _T], number: int, value: _T) -> None:
    """Add to a table, and drop its older half when it is full.

    The writer starts numbering anew long before that, so nothing refers to the old entries.
    """
    table[number] = value
    if len(table) > _NUMBERED:
        for old in list(table)[: _NUMBERED // 2]:
            table.pop(old, None)


def _address(value: Any) -> Any:
    """Turn the lists of JSON into tuples."""
    if isinstance(value, list):
        return tuple(map(_address, value))
    return value


def decode(
    files: LogFiles,
    sockets: dict[tuple[str, int], Socket],
    problems: list[str],
    holes: dict[str, tuple[Hole, int]] | None = None,
) -> tuple[Decoder, Iterator[Call]]:
    """Return the decoder of a log and the stream of its calls. TraceError if the file is no log.

    holes: gets what is missing in the middle of the log, and its clock, after the last call.
    """
    from sockfsm.record.notes import checked  # late: it loads msgspec

    reader = LogReader(*files.files)
    decoder = Decoder(files.name, sockets)

    def calls() -> Iterator[Call]:
        damaged = 0
        for item in reader:
            try:
                if isinstance(item, dict):
                    decoder.note(checked(item))
                elif (call := decoder.record(item)) is not None:
                    yield call
            except _DAMAGE:
                damaged += 1
        if damaged:
            reader.problems.append(f"{files.name}: {damaged} damaged records were passed over")
        hole = reader.holes(ended=not alive(decoder.process))
        if hole is not None and holes is not None:
            holes[files.name] = hole, decoder.process.clock
        told = [*reader.problems, *(f"{files.name}: {line}" for line in decoder.unseen)]
        problems.extend(problem for problem in told if problem not in problems)

    return decoder, calls()


def head(files: LogFiles) -> Decoder:
    """Read only the first note, which describes the process. TraceError if the file is no log."""
    from sockfsm.record.notes import checked

    decoder = Decoder(files.name, {})
    for item in LogReader(*files.files):
        if not isinstance(item, dict):
            continue
        try:
            decoder.note(checked(item))
        except _DAMAGE:
            continue  # reading the whole log reports it
        if decoder.process.pid:
            break
    return decoder


def alive(process: Process) -> bool:
    """Whether a traced process still runs on this machine, according to its log and /proc."""
    return process.ended is None and process.pid > 0 and mapped(process.pid, process.log)
