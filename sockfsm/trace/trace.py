"""A trace in a folder: a call log for each process, and the packets if they were captured."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Hashable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sockfsm.errors import TraceError
from sockfsm.events import Call, Lost, Packet, Process, Socket
from sockfsm.files import regular
from sockfsm.record.logs import LOGS, LogFiles, all_logs
from sockfsm.record.packs import PACKS, Packed
from sockfsm.record.reader import Hole
from sockfsm.trace.causes import STEP
from sockfsm.trace.decode import Decoder, alive, decode, head
from sockfsm.trace.losses import losses, of_hole
from sockfsm.trace.source import TraceSource
from sockfsm.trace.summary import Summary

if TYPE_CHECKING:
    from sockfsm.trace.about import About
    from sockfsm.wire.kernel_states import KernelState

PACKETS = "packets.pcapng"
ABOUT = "trace.json"
_NEVER = 1 << 64


class Trace(TraceSource):
    """Reads a trace, finished or still being written.

    Every method streams the files anew, but `summary` is cached once the trace is complete.

    since, until: monotonic ns; calls that end outside are left out.
    """

    def __init__(
        self, path: str | os.PathLike[str], since: int = 0, until: int | None = None
    ) -> None:
        self.path = Path(path)
        self.name = str(path)
        self.since = since
        self.until = until
        self._damage: list[str] = []
        self._losses: list[Lost] = []
        self._holes: dict[str, tuple[Hole, int]] = {}
        self.up_to_date: Callable[[], None] | None = None
        """Called before a read, so that the tracer of this process writes what it still holds back."""
        self.keep: Any = None
        """What must live as long: a temporary folder's finalizer, or the trace that has this part."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Trace:
        """Open the trace in folder `path`. TraceError if there is none."""
        trace = cls(path)
        try:
            os.listdir(trace.path)  # glob() keeps silent about a folder that may not be read
        except FileNotFoundError:
            raise TraceError(
                f"{path}: no such trace; record one with: sockfsm run -o {path} PROGRAM"
            ) from None
        except NotADirectoryError:
            raise TraceError(
                f"{path}: a trace is a folder, as `sockfsm run -o` writes it"
            ) from None
        except OSError as error:
            raise TraceError(f"{path}: {error.strerror}") from error
        if not any(any(trace.path.glob(pattern)) for pattern in (LOGS, PACKS, PACKETS)):
            raise TraceError(f"{path}: holds no call log ({LOGS}): not a trace")
        return trace

    @property
    def problems(self) -> list[str]:
        """See `TraceSource`."""
        return [*(lost.text for lost in self.losses), *self._damage]

    @property
    def losses(self) -> list[Lost]:
        """See `TraceSource`."""
        holes = [of_hole(name, *hole) for name, hole in self._holes.items()]
        return [*self._losses, *holes, *self.facts.losses]

    def _look(self, logs: list[LogFiles]) -> None:
        names = {log.name for log in logs}
        self._holes = {name: hole for name, hole in self._holes.items() if name in names}
        self._losses = losses(self.path, logs, self.facts)

    @property
    def logs(self) -> list[Path | Packed]:
        """The files of the call logs."""
        return [file for log in all_logs(self.path, self._damage) for file in log.files]

    @property
    def about(self) -> dict[str, Any]:
        """The content of `trace.json`, unchecked, for a writer that adds to it."""
        try:
            with regular(self.path / ABOUT) as file:
                about = json.load(file)
        except (OSError, ValueError, RecursionError):
            return {}
        return about if isinstance(about, dict) else {}

    @property
    def facts(self) -> About:
        """See `TraceSource`."""
        from sockfsm.trace.about import about

        return about(self.path / ABOUT, self._damage)

    def _decoders(self) -> list[tuple[Decoder, Iterator[Call]]]:
        if self.up_to_date is not None:
            self.up_to_date()
        sockets: dict[tuple[str, int], Socket] = {}
        logs = all_logs(self.path, self._damage)
        self._look(logs)
        return [decode(log, sockets, self._damage, self._holes) for log in logs]

    def calls(self) -> Iterator[Call]:
        """See `TraceSource`."""
        yield from self._of([calls for _, calls in self._decoders()])

    def _of(self, streams: list[Iterator[Call]]) -> Iterator[Call]:
        merged = streams[0] if len(streams) == 1 else self._merged(streams)
        if not self.since and self.until is None:
            yield from merged
            return
        for call in merged:
            if call.end >= self.since and (self.until is None or call.end <= self.until):
                yield call

    def _merged(self, streams: list[Iterator[Call]]) -> Iterator[Call]:
        """Merge the streams by the calls' ends.

        A log is opened only when its process has started: a child's first record may refer to a socket
        of its parent's log.
        """
        heap: list[tuple[int, int, Call | None]] = [
            (process.started, index, None) for index, process in enumerate(self.heads)
        ]
        heapq.heapify(heap)
        while heap:
            _, index, call = heapq.heappop(heap)
            if call is not None:
                yield call
            until = heap[0][0] if heap else _NEVER
            for call in streams[index]:
                end = call.end
                if end > until:
                    heapq.heappush(heap, (end, index, call))
                    break
                yield call

    @property
    def heads(self) -> list[Process]:
        """The traced processes, from the start of their logs: quick, but without threads and end."""
        logs = all_logs(self.path, self._damage)
        self._look(logs)
        return [head(log).process for log in logs]

    def summary(self, *, index: bool = False) -> Summary:
        """See `TraceSource`. Without packets there is nothing to join, and no index."""
        return super().summary(index=index and (self.path / PACKETS).exists())

    def _version(self) -> Hashable:
        paths = [path for pattern in (LOGS, PACKS) for path in sorted(self.path.glob(pattern))]
        return tuple((path.name, *_stamp(path)) for path in paths), self.since, self.until

    def _summarize(self, summary: Summary) -> bool:
        decoders = self._decoders()
        summary.read(self._of([calls for _, calls in decoders]))
        known = [decoder for decoder, _ in decoders]
        summary.add_rest(
            [decoder.process for decoder in known],
            [wait for decoder in known for wait in decoder.blocked if wait.begin >= self.since],
        )
        # A process that still runs may write through its mapping, which no file's time shows.
        return not any(map(alive, summary.processes))

    def kernel_states(self) -> list[KernelState]:
        """See `TraceSource`."""
        from sockfsm.wire.kernel_record import read
        from sockfsm.wire.kernel_states import FILE, with_ports

        path = self.path / FILE
        if not path.exists():
            return []
        return with_ports(read(path, self._damage))

    def captured(self) -> Iterator[Packet]:
        """See `TraceSource`."""
        if not (self.path / PACKETS).exists():
            return iter(())
        from sockfsm.wire.headers import packets
        from sockfsm.wire.pcapng import CaptureFile

        path, clock = self.path / PACKETS, None
        if CaptureFile(path).clock is None and self.logs:
            clock = min(self.heads, key=attrgetter("started")).clock
        if self.clock_error > STEP:
            wrong = f"{self.clock_error / 1_000_000_000:.3f} s"
            problem = (
                f"{PACKETS}: the wall clock was set during the capture: the packets' times are wrong "
                f"by up to {wrong}, and which waits they ended is not told"
            )
            if problem not in self._damage:
                self._damage.append(problem)
        found = packets(path, clock, self._damage)
        if not self.facts.strangers:
            return found
        from sockfsm.trace.keeping import ours

        return ours(self, found)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0  # just now removed
    return found.st_size, found.st_mtime_ns
