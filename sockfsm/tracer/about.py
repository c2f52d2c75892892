"""What a recording says about itself, in `trace.json`: command, capture, exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sockfsm.events import Lost
from sockfsm.trace.trace import ABOUT, Trace


class About:
    """The facts of one recording. A disk that is full harms nobody: they are written when it can be.

    report: gets one line, the first time that they cannot.
    """

    def __init__(self, trace: Trace, report: Callable[[str], None]) -> None:
        self._trace = trace
        self._report: Callable[[str], None] | None = report
        self.facts: dict[str, Any] = {}
        self._lacks: dict[str, list[Lost]] = {}

    def lack(self, what: str, lost: list[Lost]) -> None:
        """Write down what is lost of packets or kernel states, in place of what was said before."""
        self._lacks[what] = lost
        self.add(losses=[asdict(one) for each in list(self._lacks.values()) for one in each])

    def add(self, **facts: Any) -> None:
        """Write down more; a later value of a fact replaces an earlier one."""
        from sockfsm import private

        self.facts.update(facts)
        path = self._trace.path / ABOUT
        text = json.dumps({**self._trace.about, **self.facts}, indent=1) + "\n"
        try:
            private.write(path, text.encode())
        except OSError as error:
            if self._report is not None:
                self._report(f"{path}: cannot be written: {error.strerror}")
                self._report = None
