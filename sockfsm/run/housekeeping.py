"""What has to be done every second beside a program that runs: nothing grows without an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

_SECONDS = 1.0


class Housekeeping:
    """Runs each chore now and then, in a thread of ours, until `stop`.

    A chore that fails is told of once and not done again. Where no thread can be had there are no
    chores: the program runs all the same.
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
        # What is sent to us is for the thread that waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while self._chores and not self._over.wait(_SECONDS):
            for name, chore in list(self._chores.items()):
                try:
                    chore()
                except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
                    del self._chores[name]
                    self._report(f"{name}: {error}")

    def stop(self) -> None:
        """Returns when nothing is under way any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
