"""Thins a capture of ours: keeps the packets of traced connections, and of those the newest."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sockfsm import private
from sockfsm.errors import TraceError
from sockfsm.wire import blocks
from sockfsm.wire.pcapng import CaptureFile, Frame

PART = ".part"
_OVERHEAD = 32  # bytes of a packet block beside the packet


class Thinned(NamedTuple):
    """How many packets were kept, left out as not wanted, and left out as too old."""

    kept: int
    left: int
    old: int


def thin(
    path: Path, wanted: Callable[[Frame], bool], *, number: int | None = None, most: int = 0
) -> Thinned:
    """Write the wanted frames of a capture of ours to a new file beside it (its name + PART).

    number: look only at this many frames. most: the most bytes of packets, of which the newest are
    kept; 0 for no limit. OSError if it cannot be written; then the new file is removed.
    """
    # Two passes: which packets are the oldest is known only when the size of all is known.
    source = CaptureFile(path)
    verdicts = bytearray()
    size = 0
    for frame in islice(source, number):
        verdicts.append(wanted(frame))
        size += _size(frame) if verdicts[-1] else 0
    fresh = path.with_name(path.name + PART)
    kept = old = 0
    try:
        with os.fdopen(private.create(fresh), "wb") as target:
            links: dict[int, int] = {}
            target.write(blocks.section(source.comments[0] if source.comments else path.name))
            for frame, keeps in zip(source, verdicts, strict=False):
                if not keeps:
                    continue
                wall, link, data, length = frame
                if most and size > most:
                    size -= _size(frame)
                    old += 1
                    continue
                if link not in links:
                    links[link] = len(links)
                    target.write(blocks.interface(link, 65535, source.names.get(link, "")))
                target.write(blocks.packet(links[link], wall, data, length))
                kept += 1
            # A capture without packets still needs an interface to be a valid file.
            if not links:
                link, name = next(iter(source.names.items()), (1, ""))
                target.write(blocks.interface(link, 65535, name))
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return Thinned(kept, len(verdicts) - kept - old, old)


def keep(path: Path, wanted: Callable[[Frame], bool]) -> tuple[int, int]:
    """Rewrite a finished capture of ours with only the wanted frames; returns (kept, left out).

    The file is replaced atomically: a reader sees the old one or the new one. TraceError if there is no
    room for the new one; then the old one stays.
    """
    fresh = path.with_name(path.name + PART)
    try:
        kept, left, _ = thin(path, wanted)
        if not left:
            fresh.unlink()
            return kept, 0
        source = CaptureFile(path)
        last = first = 0
        for frame in source:
            last = frame[0]
            first = first or last
        # The statistics are rewritten, because they count packets that are gone now.
        if source.complete:
            lost = source.dropped or 0
            text = f"{lost} packets lost, {left} of other connections left out"
            with os.fdopen(private.again(fresh), "ab") as target:
                target.write(blocks.statistics(0, first, last, kept + left + lost, lost, text))
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TraceError(f"{path}: cannot be rewritten: {error.strerror}") from None
    return kept, left


def _size(frame: Frame) -> int:
    return _OVERHEAD + (len(frame[2]) + 3 & ~3)
