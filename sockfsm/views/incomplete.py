"""What a trace lacks. Every view says it in these words, with when and why.

Ask after reading the trace: only then is it known what cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sockfsm.views.text import plain

if TYPE_CHECKING:
    from sockfsm.trace.source import TraceSource

_LISTED = 30


def lacking(trace: TraceSource) -> list[str]:
    """A line for each thing that is lost, damaged or left out, safe to print; [] if nothing is."""
    lines = list(dict.fromkeys(map(plain, trace.problems)))
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"and {len(lines) - _LISTED:,} more of these"]
    return lines


def incomplete(trace: TraceSource) -> Iterator[str]:
    """Yield the same lines as a view shows them."""
    for line in lacking(trace):
        yield f"incomplete: {line}"
