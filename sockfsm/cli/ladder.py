"""Prints the ladder of a trace that a command has just made."""

from __future__ import annotations

import sys

from sockfsm.trace.source import TraceSource


def print_ladder(trace: TraceSource) -> None:
    """Print all of it, without a pager: more lines follow."""
    from sockfsm.cli.pager import columns
    from sockfsm.views.glyphs import glyphs_for
    from sockfsm.views.ladder import Ladder
    from sockfsm.views.text import paint_for

    for line in Ladder(trace, paint_for(sys.stdout), glyphs_for(sys.stdout), columns()).lines():
        print(line)
    sys.stdout.flush()
