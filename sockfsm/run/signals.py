"""Signals of a program that runs as our child, as if it ran in our place."""

from __future__ import annotations

import os
import resource
import signal
import subprocess

_FORWARDED = {
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGALRM,
}
_WATCHED = _FORWARDED | {signal.SIGCHLD}


class Relay:
    """Waits for a child and passes on to it what somebody sends to us.

    Signals that the terminal sends reach the whole foreground group, so the child has them already;
    those of kill(1) are for us alone (sigaction(2), si_code <= 0) and are passed on.
    """

    def __init__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)

    def restore(self) -> None:
        """Take signals as before; also what the child has to do before it starts."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """The child's return code, negative for a signal."""
        while (code := child.poll()) is None:
            taken = signal.sigwaitinfo(_WATCHED)
            if taken.si_signo != signal.SIGCHLD and taken.si_code <= 0:
                child.send_signal(taken.si_signo)
        return code


def die_of(number: int) -> None:
    """End this process by the signal that ended the program, without a core of our own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.Signals(number)})
    os.kill(os.getpid(), number)
