"""Signals for a program that runs as our child, as if it ran in our place."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable

# The first two cannot be caught. The others are faults of our own, and must end us.
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
    """Waits for a child, and passes on the signals that are sent to us.

    Signals from the terminal go to the whole foreground group, so the child has them already. Those of
    kill(1) are for us alone (sigaction(2), si_code <= 0), and are passed on. When the child stops, we
    stop as well, so that the shell sees its job stopped.
    """

    def __init__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # If SIGCHLD is ignored, the kernel does not keep how a child ended: wait(2).
        self._child_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._prctl: Callable[..., int] = ctypes.CDLL(None).prctl

    def restore(self) -> None:
        """Handle signals as before."""
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def drop(self) -> None:
        """Drop the signals that came for the program after it had ended."""
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            continue

    def prepare(self) -> None:
        """Run in the child before it starts: handle signals as before, and end if we are killed."""
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self.restore()

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the child. Returns its return code, negative for a signal."""
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
    """Stop as the child did, if a shell with job control may continue us; then continue the child."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return  # no terminal: nobody would continue us
    os.kill(os.getpid(), signal.SIGSTOP)
    _go_on_with(child)


def _go_on_with(child: subprocess.Popen[bytes]) -> None:
    """Continue the child if it is still stopped: then SIGCONT was for us alone, not for our group.

    If its status has changed since we last waited, it was continued without us. If it is stopped now,
    it was stopped again, and must stay so.
    """
    changes = os.WSTOPPED | os.WCONTINUED | os.WEXITED
    if os.waitid(os.P_PID, child.pid, changes | os.WNOHANG | os.WNOWAIT) is not None:
        return
    try:
        with open(f"/proc/{child.pid}/stat", "rb") as file:
            stopped = file.read().rpartition(b") ")[2][:1] == b"T"
    except OSError:
        stopped = True  # no /proc or no descriptor: one SIGCONT too many does less harm
    if stopped:
        os.kill(child.pid, signal.SIGCONT)


def die_of(number: int) -> None:
    """End this process by the signal that ended the program, without dumping core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
