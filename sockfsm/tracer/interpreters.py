"""Which of the process's interpreters this is."""

from __future__ import annotations

import contextlib


def is_main() -> bool:
    """Whether it is the one that the process began with."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        with contextlib.suppress(ImportError):
            interpreters = __import__(name)
            return bool(interpreters.get_current() == interpreters.get_main())
    return True
