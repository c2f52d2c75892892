"""A capture of ours with some of its packets alone: those of the traced connections."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sockfsm.errors import TraceError
from sockfsm.wire import blocks
from sockfsm.wire.pcapng import CaptureFile, Frame


def keep(path: Path, wanted: Callable[[Frame], bool]) -> tuple[int, int]:
    """Rewrite a capture of ours with the wanted frames alone: (kept, left out).

    A file that has no others is left as it is. Else it is replaced at once: whoever reads it sees
    the old one or the new one. When the disk has no room for the new one, the old one stays, and
    TraceError says so.
    """
    source = CaptureFile(path)
    if all(map(wanted, source)):
        return sum(1 for _ in source), 0
    fresh = path.with_name(path.name + ".part")
    kept = left = 0
    try:
        with open(fresh, "wb") as target:
            number: dict[int, int] = {}
            last = first = 0
            comment = source.comments[0] if source.comments else f"kept of {path.name}"
            target.write(blocks.section(comment))
            for frame in source:
                last = frame[0]
                first = first or last
                if not wanted(frame):
                    left += 1
                    continue
                kept += 1
                wall, link, data, length = frame
                if link not in number:
                    number[link] = len(number)
                    target.write(blocks.interface(link, 65535, source.names.get(link, "")))
                target.write(blocks.packet(number[link], wall, data, length))
            if not number:
                link, name = next(iter(source.names.items()), (1, ""))
                target.write(blocks.interface(link, 65535, name))
            if source.complete:
                lost = source.dropped or 0
                text = f"{lost} packets dropped by the kernel, {left} of other connections left out"
                target.write(blocks.statistics(0, first, last, kept + left + lost, lost, text))
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TraceError(f"{path}: cannot be rewritten: {error.strerror}") from None
    return kept, left
