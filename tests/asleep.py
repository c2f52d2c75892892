"""Waiting until a call really blocks. Programs of tests begin with this file's text."""

import os
import signal
import threading

_FUTEX = "98" if os.uname().machine == "aarch64" else "202"


def asleep(thread: object) -> None:
    """Return when the thread (or process) sleeps in the kernel, and not for Python's own lock."""
    number = getattr(thread, "native_id", None) or getattr(thread, "pid", None)
    while True:
        with open(f"/proc/{number}/stat") as stat, open(f"/proc/{number}/syscall") as syscall:
            state, call = stat.read().rsplit(") ", 1)[1][0], syscall.read().split()[0]
        if state == "S" and call.isdigit() and call != _FUTEX:
            return


def alarm() -> None:
    """SIGALRM for the thread that calls this, when it sleeps in its next call, and not before."""
    caller, ident = threading.current_thread(), threading.get_ident()

    def ring() -> None:
        asleep(caller)
        signal.pthread_kill(ident, signal.SIGALRM)

    threading.Thread(target=ring, daemon=True).start()
