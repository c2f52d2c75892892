"""Logs of processes that were killed end in slots never written: give those back to the disk."""

from __future__ import annotations

import os
from pathlib import Path

from sockfsm.record.layout import SLOT
from sockfsm.trace.decode import alive
from sockfsm.trace.trace import Trace


def tidy(trace: Trace) -> None:
    """Cut the unused ends off the logs of processes that have ended."""
    running = {process.log for process in trace.heads if alive(process)}
    for path in trace.logs:
        if path.name not in running:
            cut(path)


def cut(path: Path) -> None:
    """Truncate a log behind its last written slot."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(end - (1 << 16), 0)
            file.seek(start)
            written = file.read(end - start).rstrip(b"\0")
            if written:
                # Back to a whole slot: the record's last bytes may be zeros of their own.
                used = start + len(written)
                file.truncate(min(-(-used // SLOT) * SLOT, end))
                return
            end = start
