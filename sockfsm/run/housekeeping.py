"""What must be done every second while a program runs, so that nothing grows without bound."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

_SECONDS = 1.0


class Housekeeping:
    """Runs each chore every second, in a thread of its own, until `stop`.

    A chore that fails is reported once and not run again. If no thread can be started, no chores are
    run, but the program is.
    """

    def __init__(
        self, chores: dict[str, Callable[[], None]], report: Callable[[str], None]
    ) -> None:
        self._chores = chores
        self._report = report
        self._over = threading.Event()
        self._thread: threading.Thread | None = threading.Thread(target=self._run, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    def _run(self) -> None:
        # The main thread waits for the signals that are sent to us.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while self._chores and not self._over.wait(_SECONDS):
            for name, chore in list(self._chores.items()):
                try:
                    chore()
                except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
                    del self._chores[name]
                    self._report(f"{name}: {error}")

    def stop(self) -> None:
        """Stop, and return when the running chore is done."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
