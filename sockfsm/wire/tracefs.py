"""A tracing instance of our own in tracefs, so that nobody else's tracing is touched.

It disappears when we end, even by SIGKILL: a small process waits for our end and removes it. If that
one was killed too, the next start removes the instance. Sources: Documentation/trace/ftrace.rst,
fsopen(2).
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from contextlib import suppress
from errno import EACCES, EBUSY, EPERM

_MOUNTED = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT, _CREATE = 430, 431, 432, 6
_NAME = re.compile(r"^sockfsm-(?P<pid>\d+)(-(?P<started>\d+))?-[0-9a-f]{6}$")
_READ = 1 << 16


class TracefsError(Exception):
    """No tracing instance can be made. The message says why."""


class Instance:
    """A tracing instance; end it with `remove`. TracefsError if the kernel refuses it."""

    def __init__(self) -> None:
        root = _tracefs()
        pid = os.getpid()
        self.name = f"sockfsm-{pid}-{_started(pid)}-{os.urandom(3).hex()}"
        try:
            self.instances = os.open("instances", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
            _sweep(self.instances)
            os.mkdir(self.name, dir_fd=self.instances)
            self._folder = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.instances)
            # While this is open, nobody can remove the instance. When we are killed, anybody can.
            self._held = os.open("tracing_on", os.O_RDONLY, dir_fd=self._folder)
            self._pipe = os.open("trace_pipe", os.O_RDONLY | os.O_NONBLOCK, dir_fd=self._folder)
        except OSError as error:
            raise TracefsError(f"no tracing instance of our own: {error.strerror}") from None
        finally:
            os.close(root)
        self._watched = _watch(self.instances, self.name)

    def read(self) -> bytes:
        """What was recorded since the last time, cut anywhere; b'' if there is no more."""
        try:
            return os.read(self._pipe, _READ)
        except BlockingIOError:
            return b""

    def lost(self) -> int:
        """How many events were overwritten before they were read."""
        lost = 0
        for cpu in os.listdir(descriptor := self._open("per_cpu", os.O_DIRECTORY)):
            with os.fdopen(self._open(f"per_cpu/{cpu}/stats")) as lines:
                lost += sum(int(line.split()[1]) for line in lines if line.startswith("overrun"))
        os.close(descriptor)
        return lost

    def write(self, name: str, text: str) -> None:
        descriptor = self._open(name, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int = 0) -> int:
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self._folder)

    def remove(self) -> None:
        for each in self._pipe, self._held, self._folder:
            os.close(each)
        try:
            os.rmdir(self.name, dir_fd=self.instances)
        finally:
            os.close(self.instances)
            os.close(self._watched)


def _watch(instances: int, name: str) -> int:
    """Start a process that removes the instance when we end; returns the pipe end to keep open.

    It is no child of ours and has a session of its own, so signals to our group or from the terminal do
    not reach it. If no process can be made, nothing watches.
    """
    end, ours = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(end)
        return ours
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                # It holds nothing but the pipe and the folder, and waits for the pipe's other end to
                # be closed, which the kernel does however we end.
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                os.dup2(end, 0)
                os.dup2(instances, 1)
                os.closerange(2, 1 << 16)
                os.chdir("/")
                os.read(0, 1)
                _remove(1, name)
        finally:
            os._exit(0)
    os.close(end)
    with suppress(ChildProcessError):  # where SIGCHLD is ignored
        os.waitpid(child, 0)
    return ours


def _remove(instances: int, name: str) -> None:
    """Remove an instance, as soon as the processes that were killed with us have let go of it."""
    for _ in range(100):
        try:
            os.rmdir(name, dir_fd=instances)
        except OSError as error:
            if error.errno != EBUSY:
                return  # it is gone already
            time.sleep(0.05)
        else:
            return


def _sweep(instances: int) -> None:
    """Remove instances of ours whose process was killed. The kernel refuses it for those in use."""
    for name in os.listdir(instances):
        match = _NAME.match(name)
        # Older versions made names without a start time.
        if match and _started(int(match["pid"])) != (match["started"] or "?"):
            with suppress(OSError):
                os.rmdir(name, dir_fd=instances)


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; '' if there is none. Pids are used again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()[19].decode()
    except OSError:
        return ""


def _refused(code: int) -> TracefsError:
    advice = ": run as root, or leave out --kernel-states" if code in (EPERM, EACCES) else ""
    return TracefsError(f"no tracefs ({os.strerror(code)}){advice}")


def _tracefs() -> int:
    """A descriptor of the root of tracefs: of the mounted one, or of a mount that only we see."""
    for path in _MOUNTED:
        if os.path.exists(f"{path}/instances"):
            try:
                return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise _refused(error.errno or 0) from None
    libc = ctypes.CDLL(None, use_errno=True)
    # fsopen and fsmount make a mount that is attached nowhere and ends with its descriptor.
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
