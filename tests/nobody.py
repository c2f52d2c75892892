"""Becoming a user without rights inside a test's own process.

This checkout, and the Python that runs it, may lie where only root may enter. So all that there is to
import is imported before.
"""

from __future__ import annotations

import ctypes
import os
import pkgutil
from importlib import import_module

NOBODY = 65534
_PR_SET_DUMPABLE = 4


def become(*packages: str) -> None:
    """Give up root, if we have it; these packages and all of their modules stay usable."""
    for package in packages:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        # Changing the user made /proc/self root's.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
