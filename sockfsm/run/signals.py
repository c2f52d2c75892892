"""Signals of a program that runs as our child, as if it ran in our place."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable

# A fault of our own has to end us; the others cannot be caught.
_OURS = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
}
_WATCHED = signal.valid_signals() - _OURS
_NOT_PASSED = {signal.SIGCHLD, signal.SIGCONT}
_PR_SET_PDEATHSIG = 1


class Relay:
    """Waits for a child and passes on to it what somebody sends to us.

    Signals that the terminal sends reach the whole foreground group, so the child has them already;
    those of kill(1) are for us alone (sigaction(2), si_code <= 0) and are passed on. When the child
    is stopped we stop too, so that the shell sees its job stopped.
    """

    def __init__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # Where SIGCHLD is ignored the kernel forgets how a child ended: wait(2).
        self._child_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._prctl: Callable[..., int] = ctypes.CDLL(None).prctl

    def restore(self) -> None:
        """Take signals as before."""
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def drop(self) -> None:
        """Forget what was sent to us for a program that has ended meanwhile."""
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            continue

    def prepare(self) -> None:
        """What the child does before it starts: signals as before; `kill -9` of us ends it too."""
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self.restore()

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """The child's return code, negative for a signal."""
        while True:
            pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                _stop_with(child)
            elif pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode
            taken = signal.sigwaitinfo(_WATCHED)
            if taken.si_signo == signal.SIGCONT:
                _go_on_with(child)
            elif taken.si_code <= 0 and taken.si_signo not in _NOT_PASSED:
                os.kill(child.pid, taken.si_signo)


def _stop_with(child: subprocess.Popen[bytes]) -> None:
    """Stop as the child did, where a shell with job control looks on; go on when it goes on."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return  # no terminal: nobody would let us go on
    os.kill(os.getpid(), signal.SIGSTOP)
    _go_on_with(child)


def _go_on_with(child: subprocess.Popen[bytes]) -> None:
    """Let the child go on when it is still stopped: SIGCONT was for us alone, not for our group.

    A change of its that nobody has waited for means that it went on by itself; if it is stopped then,
    it has been stopped anew, and that must not be undone.
    """
    changes = os.WSTOPPED | os.WCONTINUED | os.WEXITED
    if os.waitid(os.P_PID, child.pid, changes | os.WNOHANG | os.WNOWAIT) is not None:
        return
    try:
        with open(f"/proc/{child.pid}/stat", "rb") as file:
            stopped = file.read().rpartition(b") ")[2][:1] == b"T"
    except OSError:
        stopped = True  # no /proc, no descriptor: once too often does less harm
    if stopped:
        os.kill(child.pid, signal.SIGCONT)


def die_of(number: int) -> None:
    """End this process by the signal that ended the program, without a core of our own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
