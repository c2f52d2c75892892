"""A trace: a folder with one call log per process and, where it was captured, the packets."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from sockfsm.errors import TraceError
from sockfsm.trace.decode import Decoder, decode, head
from sockfsm.trace.events import Call, Packet, Process, Socket, Transition, Wait

LOGS = "*.calls"
PACKETS = "packets.pcapng"
ABOUT = "trace.json"


class Trace:
    """Reads a trace, finished or still being written. Every method streams the files anew.

    since, until: monotonic ns; calls that end outside are left out.
    """

    def __init__(
        self, path: str | os.PathLike[str], since: int = 0, until: int | None = None
    ) -> None:
        self.path = Path(path)
        self.since = since
        self.until = until
        self.problems: list[str] = []
        self.keep: Any = None
        """What has to live as long: a temporary folder's finalizer, or the trace this is a view of."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Trace:
        """The trace in folder `path`. TraceError where there is none."""
        trace = cls(path)
        if not trace.path.exists():
            raise TraceError(
                f"{path}: no such trace; record one with: sockfsm run -o {path} PROGRAM"
            )
        if not trace.path.is_dir():
            raise TraceError(f"{path}: a trace is a folder, as `sockfsm run -o` writes it")
        if not trace.logs and not (trace.path / PACKETS).exists():
            raise TraceError(f"{path}: holds no call log ({LOGS}): not a trace")
        return trace

    @property
    def logs(self) -> list[Path]:
        """The call logs, one per process."""
        return sorted(self.path.glob(LOGS), key=lambda path: (path.stat().st_mtime_ns, path.name))

    @property
    def about(self) -> dict[str, Any]:
        """What the recording wrote down about itself: command, capture, exit status."""
        try:
            about = json.loads((self.path / ABOUT).read_text())
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) else {}

    def _decoders(self) -> list[tuple[Decoder, Iterator[Call]]]:
        sockets: dict[tuple[str, int], Socket] = {}
        return [decode(path, sockets, self.problems) for path in self.logs]

    def calls(self) -> Iterator[Call]:
        """Every finished call, in the order in which they ended."""
        streams = [calls for _, calls in self._decoders()]
        merged = streams[0] if len(streams) == 1 else self._merged(streams)
        if not self.since and self.until is None:
            yield from merged
            return
        for call in merged:
            if call.end >= self.since and (self.until is None or call.end <= self.until):
                yield call

    def _merged(self, streams: list[Iterator[Call]]) -> Iterator[Call]:
        """All streams by the calls' ends. A log is opened when its time has come: a child's first
        record may name a socket that its parent's log has to tell of before."""
        heap: list[tuple[int, int, Call | None]] = [
            (process.started, index, None) for index, process in enumerate(self.heads)
        ]
        heapq.heapify(heap)
        while heap:
            _, index, call = heap[0]
            if call is not None:
                yield call
            following = next(streams[index], None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (following.end, index, following))

    @property
    def processes(self) -> list[Process]:
        """The traced processes, the first started first."""
        decoders = self._exhaust()
        return sorted((d.process for d in decoders), key=attrgetter("started"))

    @property
    def sockets(self) -> dict[str, Socket]:
        """identity -> socket, with the names that were known in the end."""
        found: dict[str, Socket] = {}
        for call in self.calls():
            if call.socket is not None:
                found[call.socket.identity] = call.socket
        return found

    @property
    def heads(self) -> list[Process]:
        """The traced processes as their logs begin: quick, but without threads and end."""
        return [head(path) for path in self.logs]

    def _exhaust(self) -> list[Decoder]:
        decoders = self._decoders()
        for _ in self._merged([calls for _, calls in decoders]):
            pass
        return [decoder for decoder, _ in decoders]

    def transitions(self) -> Iterator[Transition]:
        """Every change of state."""
        for call in self.calls():
            if call.moved and call.socket is not None:
                yield Transition(call.end, call.socket, call.before, call.after, call)

    def waits(self) -> list[Wait]:
        """Every wait that really blocked, in order of its begin; those that last at the end."""
        decoders = self._exhaust()
        ended = [wait for d in decoders for wait in d.waits if wait.begin >= self.since]
        return sorted(ended, key=attrgetter("begin")) + self._open(decoders)

    def blocked(self) -> list[Wait]:
        """The calls that are blocked now, or were when their process ended."""
        return self._open(self._exhaust())

    def _open(self, decoders: list[Decoder]) -> list[Wait]:
        waits = [wait for d in decoders for wait in d.blocked if wait.begin >= self.since]
        return sorted(waits, key=attrgetter("begin"))

    def packets(self) -> Iterator[Packet]:
        """The captured packets, joined with the calls that caused them; none without a capture."""
        path = self.path / PACKETS
        if not path.exists():
            return iter(())
        from sockfsm.trace.join import join
        from sockfsm.wire.headers import packets

        clock = min(self.heads, key=attrgetter("started")).clock if self.logs else None
        return join(self.calls(), packets(path, clock, self.problems))
