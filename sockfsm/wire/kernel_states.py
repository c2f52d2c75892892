"""The kernel's own TCP states, where root and tracefs allow: `sock:inet_sock_set_state`.

Recorded in a tracing instance of our own, so that nobody else's tracing is touched. The kernel
keeps TIME_WAIT in a smaller socket that this event does not tell of: there it says CLOSE. Sources:
Documentation/trace/ftrace.rst, fsopen(2), include/trace/events/sock.h.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from errno import EACCES, EPERM
from operator import attrgetter
from pathlib import Path
from socket import inet_ntoa
from struct import pack
from typing import NamedTuple, TextIO

from sockfsm.errors import SockfsmError

FILE = "tcp-states.jsonl"
EVENT = "events/sock/inet_sock_set_state"
BUFFER_KB = 4096  # on each CPU: some 40,000 changes of state

_MOUNTED = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT, _CREATE = 430, 431, 432, 6
_STATES = {
    1: "ESTABLISHED",
    2: "SYN-SENT",
    3: "SYN-RECEIVED",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "CLOSED",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECEIVED",
}
_INSTANCE = re.compile(r"^sockfsm-(?P<pid>\d+)-[0-9a-f]{6}$")
_LINE = re.compile(
    r"^\s*.{1,16}-(?P<pid>\d+)\s+\[\d+\] \S+\s+(?P<seconds>\d+)\.(?P<micros>\d{6}): "
    r"inet_sock_set_state: (?P<fields>.*)$"
)
_FIELD = re.compile(r"(\w+)=(0x[0-9a-f]+)")


class KernelStatesError(SockfsmError):
    """The kernel's states cannot be recorded: says why."""


class KernelState(NamedTuple):
    """One change. time: monotonic ns, in steps of 1,000. sock: a number for the kernel's socket.

    source: this end. Hosts are '' for IPv6, and the local port is 0 before the kernel chose one.
    """

    time: int
    sock: int
    pid: int
    before: str
    after: str
    source: tuple[str, int]
    target: tuple[str, int]


class KernelStates:
    """A running record. Make it with `start`, end it with `stop`."""

    def __init__(self, instances: int, folder: int, name: str) -> None:
        self._instances = instances
        self._folder = folder
        self._name = name
        # While this is open nobody can remove the instance; when we are killed, anybody can.
        self._held = os.open("tracing_on", os.O_RDONLY, dir_fd=folder)

    @classmethod
    def start(cls) -> KernelStates:
        """Record from now on. KernelStatesError where that is not possible."""
        if not sys.platform.startswith("linux"):
            raise KernelStatesError("the kernel's TCP states are told on Linux only")
        root = _tracefs()
        name = f"sockfsm-{os.getpid()}-{os.urandom(3).hex()}"
        try:
            instances = os.open("instances", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
            _sweep(instances)
            os.mkdir(name, dir_fd=instances)
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=instances)
            made = cls(instances, folder, name)
        except OSError as error:
            raise KernelStatesError(f"no tracing instance of our own: {error.strerror}") from None
        finally:
            os.close(root)
        try:
            for file, text in (
                ("trace_clock", "mono"),
                ("buffer_size_kb", str(BUFFER_KB)),
                ("options/fields", "1"),
                ("options/hash-ptr", "0"),
                (f"{EVENT}/filter", "protocol==6"),
                (f"{EVENT}/enable", "1"),
            ):
                made._write(file, text)
        except OSError as error:
            made._remove()
            raise KernelStatesError(f"this kernel does not tell TCP states: {error}") from None
        return made

    def stop(
        self, path: Path, wanted: Callable[[list[KernelState]], bool] | None = None
    ) -> tuple[int, int]:
        """End and write what was recorded to `path`: (changes written, changes that were lost).

        wanted: whether to keep a socket, asked with all its changes; the kernel tells of every
        socket of the machine.
        """
        try:
            self._write(f"{EVENT}/enable", "0")
            lost = sum(self._lost(cpu) for cpu in range(os.cpu_count() or 1))
            with self._open("trace") as lines:
                states = list(parse(lines))
            if wanted is not None:
                kept = [state for life in lives(states) if wanted(life) for state in life]
                states = sorted(kept, key=attrgetter("time"))
            with open(path, "w") as file:
                file.write(json.dumps({"lost": lost}) + "\n")
                file.writelines(json.dumps(state) + "\n" for state in states)
        except OSError as error:
            raise KernelStatesError(f"the kernel's states are not written: {error}") from None
        finally:
            self._remove()
        return len(states), lost

    def _lost(self, cpu: int) -> int:
        with suppress(FileNotFoundError), self._open(f"per_cpu/cpu{cpu}/stats") as lines:
            return sum(int(line.split()[1]) for line in lines if line.startswith("overrun"))
        return 0

    def _open(self, name: str) -> TextIO:
        return os.fdopen(os.open(name, os.O_RDONLY, dir_fd=self._folder))

    def _write(self, name: str, text: str) -> None:
        descriptor = os.open(name, os.O_WRONLY, dir_fd=self._folder)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _remove(self) -> None:
        os.close(self._held)
        os.close(self._folder)
        try:
            os.rmdir(self._name, dir_fd=self._instances)
        finally:
            os.close(self._instances)


def _sweep(instances: int) -> None:
    """Remove instances of ours whose process was killed; those in use are busy."""
    for name in os.listdir(instances):
        found = _INSTANCE.match(name)
        if found and not os.path.exists(f"/proc/{found['pid']}"):
            with suppress(OSError):
                os.rmdir(name, dir_fd=instances)


def parse(lines: Iterable[str]) -> Iterator[KernelState]:
    """The changes among the lines of a `trace` file (with its `fields` option)."""
    numbers: dict[int, int] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        values = {name: int(value, 16) for name, value in _FIELD.findall(found["fields"])}
        if not {"skaddr", "oldstate", "newstate", "sport", "dport"} <= values.keys():
            continue
        four = values.get("family") == 2
        hosts = [_host(values.get(name, 0)) if four else "" for name in ("saddr", "daddr")]
        yield KernelState(
            int(found["seconds"]) * 1_000_000_000 + int(found["micros"]) * 1000,
            numbers.setdefault(values["skaddr"], len(numbers) + 1),
            int(found["pid"]),
            _STATES.get(values["oldstate"], "?"),
            _STATES.get(values["newstate"], "?"),
            (hosts[0], values["sport"]),
            (hosts[1], values["dport"]),
        )


def lives(states: Iterable[KernelState]) -> Iterator[list[KernelState]]:
    """The changes of each socket. The kernel uses its memory again: a life ends with CLOSED."""
    running: dict[int, list[KernelState]] = {}
    for state in states:
        life = running.get(state.sock)
        if life and state.before in ("CLOSED", "LISTEN") and life[-1].after == "CLOSED":
            yield life
            life = None
        if life is None:
            life = running[state.sock] = []
        life.append(state)
    yield from running.values()


def with_ports(states: Iterable[KernelState]) -> list[KernelState]:
    """The same by time, with the ends that a socket got later in its first changes too.

    Without what is no change: close() in FIN-WAIT-1 or CLOSING tells that state once more.
    """
    found: list[KernelState] = []
    for life in lives(states):
        named = next((s for s in life if s.source[1] and s.target[1]), life[-1])
        found += [
            s if s.source[1] else s._replace(source=named.source, target=named.target)
            for s in life
            if s.before != s.after
        ]
    return sorted(found, key=attrgetter("time"))


def _host(number: int) -> str:
    return inet_ntoa(pack("=I", number & 0xFFFFFFFF))


def _refused(code: int) -> KernelStatesError:
    advice = ": run as root, or leave out --kernel-states" if code in (EPERM, EACCES) else ""
    return KernelStatesError(f"no tracefs ({os.strerror(code)}){advice}")


def _tracefs() -> int:
    """A descriptor of the root of tracefs: where it is mounted, else a mount that only we see."""
    for path in _MOUNTED:
        if os.path.exists(f"{path}/instances"):
            try:
                return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise _refused(error.errno or 0) from None
    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(_FSOPEN, b"tracefs", 0)
    if context < 0:
        raise _refused(ctypes.get_errno())
    try:
        if libc.syscall(_FSCONFIG, context, _CREATE, None, None, 0) != 0:
            raise _refused(ctypes.get_errno())
        mounted: int = libc.syscall(_FSMOUNT, context, 0, 0)
    finally:
        os.close(context)
    if mounted < 0:
        raise _refused(ctypes.get_errno())
    return mounted
