"""greenlet, by which actors switch: an extra, imported here alone."""

from __future__ import annotations

from sockfsm.errors import UsageError

try:
    from greenlet import GreenletExit, getcurrent, greenlet
except ImportError:
    raise UsageError("programs run on greenlets: pip install 'sockfsm[sim]'") from None

__all__ = ["GreenletExit", "getcurrent", "greenlet"]
