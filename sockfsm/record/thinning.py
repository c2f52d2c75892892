"""Takes the oldest segments of a log away and keeps of them what the newer ones need to be read.

Kept are: who the process is, its kinds, threads, places and addresses, and for each socket that is
still open the calls that made, named and connected it. They replace what was in the log's first file
and in the segments that go. So the traced program never writes anything twice, and what is kept does
not grow.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from errno import EINTR
from typing import Any

from sockfsm import private
from sockfsm.record import codec
from sockfsm.record.layout import (
    ADDRESS,
    BEGUN,
    BIRTHS,
    CONTINUED,
    FRAGMENT,
    LEAST,
    LOSS,
    LOSS_AT,
    METHODS,
    MOST,
    NOTED,
    ORPHANS,
    ORPHANS_AT,
    OUTCOME,
    WHOLE,
    WINDOWS_AT,
)
from sockfsm.record.logs import LogFiles, Loss, loss
from sockfsm.record.names import split
from sockfsm.record.reader import LogReader
from sockfsm.record.writer import Fields

LOCK = ".lock"
MOST_KEPT = 1 << 16
"""Sockets, threads, places and addresses: of each so many at most, the ones used last."""
_OWN_NOTES = 0xF0000000  # the numbers of notes that are written anew

_WORDS = [word for _, word in METHODS] + [""] * (256 - len(METHODS))
_TELLING = tuple(
    word in BIRTHS or word in ("accept", "bind", "listen", "connect", "close", "exit")
    for word in _WORDS
)
_NUMBERED = ("thread", "site", "address", "abstract", "kind", "socket")


_Placed = tuple[int, Fields]
"""A record and its place in the order of the files."""


class Children:
    """When the processes that were forked with a log's sockets began, and which they had."""

    def __init__(self, forks: list[tuple[int, int]]) -> None:
        self._forks = forks  # (monotonic ns, the first number that was not theirs)

    def have(self, number: int, born: int, closed: int) -> bool:
        """Whether one of them was forked while the socket was open."""
        return any(born <= began <= closed and number < upto for began, upto in self._forks)


class _Kept:
    """What the records and notes, taken in in their order, leave to be told."""

    def __init__(self, children: Children) -> None:
        self.header: dict[str, Any] = {}
        self.dropped = 0
        self._children = children
        self._last: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, dict[int, dict[str, Any]]] = {key: {} for key in _NUMBERED}
        self._sockets: dict[int, dict[str, _Placed]] = {}  # number -> word -> the last such call
        self._accepts: dict[int, _Placed] = {}  # thread -> accept whose socket has not come
        self._begun: dict[int, Fields] = {}  # thread -> that its call began to block
        self._places = itertools.count()
        self._sites: set[int] = set()
        self._threads: set[int] = set()

    def read(self, reader: LogReader) -> None:
        """Take in files."""
        sites, threads, begun, calls = self._sites, self._threads, self._begun, 0
        for item in reader:
            if isinstance(item, dict):
                self._note(item)
                continue
            _, _, head, _, site, thread, _, _ = item
            sites.add(site)
            threads.add(thread)
            if head & BEGUN:
                begun[thread] = item
                continue
            calls += 1
            if begun:
                begun.pop(thread, None)
            if _TELLING[head & 0xFF]:
                self._record(item, _WORDS[head & 0xFF])
        self.dropped += calls

    def _note(self, note: dict[str, Any]) -> None:
        if "pid" in note:
            self.header = note
            self.dropped += note["dropped"] if isinstance(note.get("dropped"), int) else 0
            return
        for key in _NUMBERED:
            if isinstance(number := note.get(key), int):
                self._notes[key].pop(number, None)
                self._notes[key][number] = note
                return
        if isinstance(number := note.get("thread ended"), int):
            self._notes["thread"].pop(number, None)
            self._begun.pop(number, None)
            self._accepts.pop(number, None)
        elif note:
            self._last[next(iter(note))] = note

    def _record(self, fields: Fields, word: str) -> None:
        _, end, head, number, _, thread, _, _ = fields
        placed = next(self._places), fields
        ok = not head >> OUTCOME & 7
        if word == "accept":
            if ok:
                self._accepts[thread] = placed
        elif word in BIRTHS:
            calls = self._sockets.setdefault(number, {})
            if word == "accepted" and thread in self._accepts:
                calls["accept"] = self._accepts.pop(thread)
            calls[word] = placed
        elif word in ("close", "exit"):
            calls = self._sockets.get(number, {})
            born = min((call[0] for _, call in calls.values()), default=end)
            if ok and not self._children.have(number, born, end):
                self._sockets.pop(number, None)
                self._notes["socket"].pop(number, None)
        elif ok or word == "connect":
            # A socket that is not known was inherited: its calls are told for the same reason.
            self._sockets.setdefault(number, {})[word] = placed

    def _records(self) -> list[Fields]:
        for number in list(self._sockets)[:-MOST_KEPT]:
            del self._sockets[number]
        calls = itertools.chain.from_iterable(c.values() for c in self._sockets.values())
        kept = sorted(itertools.chain(calls, self._accepts.values()))
        return [call for _, call in kept] + list(self._begun.values())

    def written(self, upto: int, until: int) -> Iterator[bytes]:
        """The slots of the thinned file."""
        records = self._records()
        self.dropped -= len(records) - len(self._begun)
        numbers = itertools.count(_OWN_NOTES)
        head = {"thinned": upto, "dropped": self.dropped, "dropped_until": until}
        sites = self._sites | {record[4] for record in records}
        threads = self._threads | {record[5] for record in records}
        noted = {r[7] >> 32 for r in records if r[2] >> ADDRESS & 3 == NOTED}
        named = self._notes
        notes = [
            {**self.header, **head},
            *named["kind"].values(),
            *_latest(named["thread"], threads),
            *_latest(named["site"], sites),
            *_latest(named["address"], noted),
            *_latest(named["abstract"], noted),
        ]
        last = [
            *(note for number, note in named["socket"].items() if number in self._sockets),
            *self._last.values(),
        ]
        for note in notes:
            yield from codec.note(next(numbers), note)
        for record in records:
            yield codec.record(*record)
        for note in last:
            yield from codec.note(next(numbers), note)


def _latest(notes: dict[int, dict[str, Any]], used: set[int]) -> Iterator[dict[str, Any]]:
    """At most MOST_KEPT of them: first go those that nobody has used lately."""
    surplus = len(notes) - MOST_KEPT
    for number, note in notes.items():
        if surplus > 0 and number not in used:
            surplus -= 1
        else:
            yield note


def thin(log: LogFiles, upto: int, children: Children) -> bool:
    """Drop the segments up to `upto`; False where there was nothing to do, or somebody is at it.

    The files change one after the other: a reader that comes in between, or after a crash, still finds
    each segment in one of them. The supervisor and the traced process may both try.
    """
    gone = [path for path in log.paths if split(path.name)[1] <= upto]
    first = gone[0].with_name(log.name)
    with private.locked(first.with_name(first.name + LOCK)) as held:
        if not held:
            return False
        try:
            times = os.stat(gone[-1])
            text = _kept(LogFiles(log.name, tuple(gone)), upto, children)
            if text is None:
                return False
            with private.replacing(first) as file:
                file.writelines(text)
                file.flush()
                os.utime(file.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
        except FileNotFoundError:
            return False  # another has just taken it away
        for path in gone:
            if path != first:
                path.unlink(missing_ok=True)
    return True


def _kept(gone: LogFiles, upto: int, children: Children) -> list[bytes] | None:
    """What is kept of files, as that of a new one; None when there is nothing to do."""
    reader, kept = LogReader(*gone.files), _Kept(children)
    kept.read(reader)
    thinned = kept.header.get("thinned", -1)
    if not kept.header or (isinstance(thinned, int) and thinned >= upto):
        return None
    lost, hole = loss(gone), reader.holes()
    if hole is not None:
        before = lost or Loss(0, hole.since, 0, EINTR)
        first, last = min(before.since, hole.since), max(before.until, hole.until)
        lost = replace(before, calls=before.calls + hole.records, since=first, until=last)
    head = bytearray(codec.BEGINNING)
    if lost is not None:
        LOSS.pack_into(head, LOSS_AT, lost.calls, lost.since, lost.until, lost.errno)
        ORPHANS.pack_into(head, ORPHANS_AT, min(lost.orphans, MOST))
    # Of these segments the newest one goes too: there is another one after it.
    head[WINDOWS_AT] = WHOLE | CONTINUED | (LEAST if lost is not None and lost.least else 0)
    text = [bytes(head), *kept.written(upto, time.monotonic_ns())]
    for number, pieces in reader.pieces.items():
        for index, piece in pieces.items():
            text.append(FRAGMENT.pack(*codec.fragment(number, index, piece, last=False)))
    text.append(codec.seal(len(text)))
    return text
