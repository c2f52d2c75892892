"""The logs in a trace's folder, each with its files in order: segments, and what is in packs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from errno import ENOMEM
from os import kill
from pathlib import Path

from sockfsm.errors import TraceError
from sockfsm.record.layout import (
    LEAST,
    LOSS,
    LOSS_AT,
    MAGIC,
    MARKED_AT,
    ORPHANS,
    ORPHANS_AT,
    SLOT,
    WINDOWS_AT,
)
from sockfsm.record.names import SUFFIX, UNKNOWN, namespace, split
from sockfsm.record.packs import PACKS, Packed, opened, unpack
from sockfsm.record.reader import first_note

LOGS = "*.calls"
_LOOKS = 10
_PID = re.compile(r"(\d+)-\d+")


@dataclass(frozen=True)
class LogFiles:
    """One log: its name, which is that of its first file, and its files."""

    name: str
    files: tuple[Path | Packed, ...]

    @property
    def paths(self) -> list[Path]:
        """The files that stand alone."""
        return [file for file in self.files if isinstance(file, Path)]

    @property
    def written(self) -> int:
        """When its newest file was changed, as far as its times tell; 0 for one in a pack."""
        return max((_time(path) for path in self.paths), default=0)

    @property
    def in_use(self) -> bool:
        """Whether a process of this machine may still write it, by the process number in its name.

        That nobody has it mapped proves nothing: a process may be about to map it, and a program that
        follows by exec must find the name taken. A process of another PID namespace may have any
        number here, or be out of our sight.
        """
        return self.has_process or (_PID.match(self.name) is not None and not self._of_ours())

    @property
    def has_process(self) -> bool:
        """Whether a process has its number."""
        found = _PID.match(self.name)
        return found is not None and _lives(int(found[1]))

    def _of_ours(self) -> bool:
        """Whether its process number means to us what it meant to its process."""
        try:
            told = first_note(self.files[0]).get("pids", UNKNOWN)
        except TraceError:
            return True  # no log at all
        return bool(told != UNKNOWN and told == namespace())


@dataclass(frozen=True)
class Loss:
    """Calls that a log lacks; times are monotonic ns, errno tells why. least: it may be more."""

    calls: int
    since: int
    until: int
    errno: int
    orphans: int = 0
    least: bool = False


def logs_in(folder: Path) -> list[LogFiles]:
    """The logs that have files of their own, those that were changed last at the end."""
    found: dict[str, dict[int, Path | Packed]] = {}
    for path in folder.glob(LOGS):
        log, segment = split(path.name)
        found.setdefault(log, {})[segment] = path
    logs = [LogFiles(log, tuple(f[k] for k in sorted(f))) for log, f in found.items()]
    return sorted(logs, key=lambda log: (log.written, log.name))


def logs_and_ended(folder: Path) -> tuple[list[LogFiles], list[LogFiles]]:
    """The logs that have files of their own, and which of them nobody writes any more.

    Those have all their files: they are listed when their processes have certainly ended.
    """
    over = {log.name for log in logs_in(folder) if not log.in_use}
    logs = logs_in(folder)
    return logs, [log for log in logs if log.name in over]


def all_logs(folder: Path, problems: list[str]) -> list[LogFiles]:
    """Those in packs too, which come first."""
    for _ in range(_LOOKS):
        told: list[str] = []
        before = _packs(folder)
        logs = _all_logs(folder, told)
        if _packs(folder) == before:
            break  # nothing moved from one file to another while we looked
    problems += [problem for problem in told if problem not in problems]
    return logs


def _packs(folder: Path) -> list[tuple[str, int]]:
    return sorted((path.name, _time(path)) for path in folder.glob(PACKS))


def _all_logs(folder: Path, problems: list[str]) -> list[LogFiles]:
    logs = logs_in(folder)
    packed: list[LogFiles] = []
    names = {log.name: log for log in logs}
    for path in sorted(folder.glob(PACKS), key=lambda path: (_time(path), path.name)):
        try:
            for entry in unpack(path):
                name = _free(entry, names)
                if name:
                    packed.append(LogFiles(name, (entry,)))
                    names[name] = packed[-1]
        except TraceError as error:
            problems.append(str(error))
    return packed + logs


def _free(entry: Packed, names: dict[str, LogFiles]) -> str:
    """A name for a packed log: another one where its process number was used again, '' for one
    that is there already, because packing was cut short or is under way."""
    name, number = entry.name, 0
    while name in names:
        files = names[name].files
        if len(files) == 1 and _bytes(files[0]) in (None, entry.read_bytes()):
            return ""
        number += 1
        name = f"{entry.name.partition('-')[0]}-{number}{SUFFIX}"
    return name


def _bytes(file: Path | Packed) -> bytes | None:
    """What is in it; None when it was just now removed."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # just now removed


def _lives(pid: int) -> bool:
    """Whether there is a process, other than one that has ended and was not waited for."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            raise FileNotFoundError  # it shows another namespace's processes
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *told = file.read().rpartition(b")")[2].split()
        # The first thread may have ended alone.
        return state not in (b"Z", b"X") or int(told[16]) > 1
    except (FileNotFoundError, ProcessLookupError):
        pass  # there is none, or we may not see it
    except OSError:
        return True
    try:
        kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def mapped(pid: int, log: str) -> bool:
    """Whether process `pid` has a file of the log mapped; True where we may not look."""
    stem = re.escape(log.removesuffix(SUFFIX))
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            maps = file.read()
    except PermissionError:
        return True
    except OSError:
        return False
    return re.search(rf"/{stem}(\+\d+)?{re.escape(SUFFIX)}".encode(), maps) is not None


def loss(files: LogFiles) -> Loss | None:
    """What a log lacks, by the first bytes of its files."""
    calls = orphans = since = until = why = 0
    least = False
    for source in files.files:
        try:
            with opened(source) as file:
                begin = file.read(SLOT)
        except OSError:
            continue
        if len(begin) < SLOT or not begin.startswith(MAGIC):
            continue
        lost, first, last, number = LOSS.unpack_from(begin, LOSS_AT)
        (children,) = ORPHANS.unpack_from(begin, ORPHANS_AT)
        marked = begin[MARKED_AT] != 0
        calls, orphans = calls + lost + marked, orphans + children
        least = least or marked or begin[WINDOWS_AT] & LEAST != 0
        if lost:
            since = min(since or first, first)
            until, why = max((until, why), (last, number))
    if not calls and not orphans:
        return None
    return Loss(calls, since, until, why or ENOMEM, orphans, least)


def size_on_disk(path: Path) -> int:
    """What a file really takes."""
    try:
        return os.stat(path).st_blocks * 512
    except OSError:
        return 0
