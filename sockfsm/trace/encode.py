"""Writes events as a call log, which `decode` reads.

    save(source, "folder")    # any TraceSource; Trace.open("folder") then has the same events

So a simulated or an imported run becomes an ordinary trace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from sockfsm.errors import UsageError
from sockfsm.events import Address, Call, Process, Site, Socket, Thread, Wait
from sockfsm.model.errnos import errno_number
from sockfsm.private import create
from sockfsm.record import codec
from sockfsm.record.layout import (
    BIRTHS,
    ENFORCED,
    ERROR,
    METHODS,
    MOST,
    REFUSED,
    UNEXPLAINED,
    WAITED,
)
from sockfsm.record.names import SUFFIX, label
from sockfsm.trace.source import TraceSource
from sockfsm.wire import blocks

_PACKED = frozenset({"bind", "connect", "accept"})  # an IPv4 address needs no note
_NAMING = frozenset({"bind", "connect", "listen", "send"})
_MOST_METHODS = 254  # a record has eight bits for the method


class Encoder:
    """Encodes the calls of one process as the slots of its log. Give them in the order of their ends.

    methods: (what the program called, its word in the machine), for all calls that will come. parent,
    inherits: for sockets that came by fork, the log that has them, and the number after the last one.
    UsageError if there are too many methods.
    """

    def __init__(
        self,
        process: Process,
        methods: Iterable[tuple[str, str]] = (),
        *,
        parent: str = "",
        inherits: int = 0,
    ) -> None:
        self.process = process
        self._parent, self._inherits = parent, inherits
        more = [pair for pair in dict.fromkeys(methods) if pair not in METHODS]
        if len(METHODS) + len(more) > _MOST_METHODS:
            raise UsageError(f"{len(more)} methods that no log knows: a log has room for fewer")
        self._methods = [*METHODS, *more]
        self._method = {pair: number for number, pair in enumerate(self._methods)}
        self._notes = 0
        self._numbers: dict[tuple[str, object], int] = {}
        self._states: dict[str, dict[str, int]] = {}
        self._threads: set[int] = set()
        self._named: dict[int, tuple[Address | None, Address | None]] = {}

    def begin(self) -> Iterator[bytes]:
        """Yield the first slots, which describe the process."""
        process = self.process
        yield codec.BEGINNING
        yield from self._note(
            {
                "pid": process.pid,
                "log": process.log,
                "parent": process.parent,
                "from": self._parent,
                "inherits": self._inherits,
                "command": list(process.command),
                "monotonic": process.started,
                "wall": process.started + process.clock,
                "methods": self._methods,
            }
        )

    def call(self, call: Call) -> Iterator[bytes]:
        """Yield the record of one call, and before and after it the notes that it needs."""
        socket, word = call.socket, call.call
        yield from self._noted(call.thread, call.site, socket)
        states = [0, 0]
        if socket is not None:
            for state in (call.before, call.after):
                yield from self._state(socket.kind, state)
            known = self._states[socket.kind]
            states = [known[call.before], known[call.after]]
        form, asked, done = 0, call.asked, call.done
        if word in BIRTHS and socket is not None:
            kind = self._numbers["kind", socket.kind]
            asked, done = codec.birth(
                kind, socket.family, socket.type, socket.proto, socket.descriptor
            )
        elif word in _PACKED and (peer := _inet(call.address)) is not None:
            # Both addresses fit into the record if they are IPv4: the local one fills what is left
            # of the two words.
            local = _inet(socket.local) if socket is not None and _names_itself(call) else None
            form, asked, done = codec.ends(peer, local or 0)
        elif call.address is not None:
            # A record has no room for it; the first call with an address writes a note, and later
            # ones refer to it.
            yield from self._address(call.address)
            form, _, place = codec.noted(self._numbers["address", call.address])
            done = place | call.done & MOST
        flags = (
            form
            | WAITED * call.waited
            | UNEXPLAINED * (not call.explained)
            | ENFORCED * call.enforced
            | REFUSED * bool(call.predicted)
        )
        head = codec.head(
            self._method[call.method, word],
            *states,
            errno=call.errno or _errno(call.outcome),
            outcome=codec.code_of(call.outcome),
            flags=flags,
        )
        yield self._record(call.begin, call.end, head, call, asked, done)
        if socket is not None:
            yield from self._names(socket, word)

    def wait(self, wait: Wait) -> Iterator[bytes]:
        """Yield the record of a call that is still blocked."""
        yield from self._noted(wait.thread, wait.site, wait.socket)
        number = next((n for n, (name, _) in enumerate(self._methods) if name == wait.method), 0)
        yield self._record(wait.begin, 0, codec.begun(number), wait, 0, 0)

    def end(self) -> Iterator[bytes]:
        """Yield the last slots, which say when the process ended, if it did."""
        if self.process.ended is not None:
            yield from self._note({"ended": self.process.ended})

    def _record(
        self, begin: int, end: int, head: int, event: Call | Wait, asked: int, done: int
    ) -> bytes:
        socket = event.socket.number if event.socket is not None else 0
        site = self._numbers["site", event.site] if event.site is not None else 0
        return codec.record(begin, end, head, socket, site, event.thread.number, asked, done)

    def _note(self, content: dict[str, Any]) -> Iterator[bytes]:
        self._notes += 1
        return codec.note(self._notes, content)

    def _number(self, what: str, value: object) -> int | None:
        """A new number for `value`; None if it has one already."""
        if (what, value) in self._numbers:
            return None
        self._numbers[what, value] = number = len(self._numbers) + 1
        return number

    def _noted(self, thread: Thread, site: Site | None, socket: Socket | None) -> Iterator[bytes]:
        if thread.number not in self._threads:
            self._threads.add(thread.number)
            yield from self._note(
                {"thread": thread.number, "ident": thread.ident, "name": thread.name}
            )
        if site is not None and (number := self._number("site", site)) is not None:
            yield from self._note(
                {"site": number, "file": site.file, "line": site.line, "function": site.function}
            )
        if socket is not None and socket.kind not in self._states:
            # The record of a birth has eight bits for it.
            self._numbers["kind", socket.kind] = len(self._states) + 1
            self._states[socket.kind] = {}

    def _state(self, kind: str, state: str) -> Iterator[bytes]:
        """Write the list of the kind's states again if `state` is new."""
        known = self._states[kind]
        if state not in known:
            known[state] = len(known)
            number = self._numbers["kind", kind]
            yield from self._note({"kind": number, "name": kind, "states": list(known)})

    def _address(self, address: Address) -> Iterator[bytes]:
        number = self._number("address", address)
        if number is None:
            return
        if isinstance(address, bytes):
            yield from self._note({"abstract": number, "is": address.decode("latin-1")})
        else:
            yield from self._note({"address": number, "is": address})

    def _names(self, socket: Socket, word: str) -> Iterator[bytes]:
        """Write the addresses that a call gave its socket, as far as they are known."""
        if word not in _NAMING and (word not in BIRTHS or word == "create"):
            return
        whole = word == "connect" or word in BIRTHS
        local, remote = self._named.get(socket.number, (None, None))
        names = socket.local, socket.remote if whole else remote
        if names != (local, remote):
            self._named[socket.number] = names
            shown = [_text(name) for name in names]
            yield from self._note({"socket": socket.number, "local": shown[0], "remote": shown[1]})


def _inet(address: Address | None) -> int | None:
    """An IPv4 address and port in 48 bits; None for anything else."""
    if not isinstance(address, tuple) or len(address) != 2:
        return None
    host, port = address
    if not isinstance(host, str) or not isinstance(port, int) or host.count(".") != 3:
        return None
    with suppress(OSError):
        return codec.inet(host, port)
    return None


def _names_itself(call: Call) -> bool:
    """Whether the call gave its socket the local address that it has."""
    assert call.socket is not None
    if call.call == "bind":
        return call.outcome == "ok"
    return call.call == "connect" and call.socket.remote == call.address


def _text(address: Address | None) -> object:
    """An address for a `socket` note. An abstract one is only in the note of its bind or connect."""
    return None if isinstance(address, bytes) else address


def _errno(outcome: str) -> int:
    return errno_number(outcome) if codec.code_of(outcome) == ERROR else 0


def save(source: TraceSource, folder: str | os.PathLike[str]) -> Path:
    """Write a trace's calls, packets and facts to a new folder; returns its path.

    UsageError if the folder is not empty, or an event has no place in a log.
    """
    from sockfsm.record.folder import make_folder
    from sockfsm.trace.about import written

    path = Path(folder)
    make_folder(os.fspath(path))
    if any(path.iterdir()):
        raise UsageError(f"{path}: the folder is not empty: choose another one")
    _save_calls(source, path)
    _save_packets(source, path)
    _write(path / "trace.json", [written(source.facts)])
    return path


def _save_calls(source: TraceSource, folder: Path) -> None:
    methods: dict[str, dict[tuple[str, str], None]] = {}
    inherits: dict[str, tuple[str, int]] = {}
    for call in source.calls():
        log = call.process.log
        methods.setdefault(log, {})[call.method, call.call] = None
        # A forked child uses a socket of its parent, so the child's log must refer to the parent's.
        if call.socket is not None and call.socket.process is not call.process:
            parent, number = call.socket.process.log, call.socket.number + 1
            inherits[log] = parent, max(number, inherits.get(log, ("", 0))[1])
    files: dict[str, BinaryIO] = {}
    encoders: dict[str, Encoder] = {}
    try:
        for process in source.processes:
            parent, number = inherits.get(process.log, ("", 0))
            encoder = Encoder(process, methods.get(process.log, ()), parent=parent, inherits=number)
            encoders[process.log] = encoder
            files[process.log] = os.fdopen(create(folder / _log_name(process)), "wb")
            files[process.log].writelines(encoder.begin())
        for call in source.calls():
            files[call.process.log].writelines(encoders[call.process.log].call(call))
        for wait in source.blocked():
            owner = next(p for p in source.processes if wait.thread in p.threads.values())
            files[owner.log].writelines(encoders[owner.log].wait(wait))
        for log, encoder in encoders.items():
            files[log].writelines(encoder.end())
    finally:
        for file in files.values():
            with suppress(OSError):
                file.close()


def _log_name(process: Process) -> str:
    if not process.log.endswith(SUFFIX) or label(process.pid, process.log) != process.name:
        raise UsageError(f"{process.log}: a log has the name <pid>-<n>{SUFFIX}")
    return process.log


def _save_packets(source: TraceSource, folder: Path) -> None:
    from sockfsm.trace.trace import PACKETS

    packets = source.captured()
    first = next(packets, None)
    if first is None:
        return
    links: dict[int, int] = {}

    def encoded() -> Iterator[bytes]:
        offset = first.wall - first.time
        clock = f"wall = monotonic + {offset} ns, error {source.clock_error} ns"
        yield blocks.section(clock)
        for packet in chain([first], packets):
            if packet.link not in links:
                links[packet.link] = len(links)
                yield blocks.interface(packet.link, 0)
            number, length = links[packet.link], len(packet.raw)
            yield blocks.packet(number, packet.wall, packet.raw, length)
        for number in links.values():
            # Without statistics a reader would take the capture for one that was killed.
            yield blocks.statistics(number, 0, 0, 0, 0)

    _write(folder / PACKETS, encoded())


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with os.fdopen(create(path), "wb") as file:
        file.writelines(pieces)
