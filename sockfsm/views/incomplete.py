"""What a trace lacks: every view says so, in these words, with when and why.

Ask once the trace was read: what cannot be read is known then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sockfsm.views.text import plain

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_LISTED = 30


def lacking(trace: TraceSource) -> list[str]:
    """One line for each thing that is lost, damaged or was left out, escaped; [] for none."""
    _ = trace.facts  # what is wrong with them is a problem, too
    lines = list(dict.fromkeys(map(plain, trace.problems)))
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"and {len(lines) - _LISTED:,} more of these"]
    return lines


def incomplete(trace: TraceSource) -> Iterator[str]:
    """The same as lines of text."""
    for line in lacking(trace):
        yield f"incomplete: {line}"
