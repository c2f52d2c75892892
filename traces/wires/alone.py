"""A network namespace of our own: wires may be laid and cut there, and nobody else is on them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from sockfsm.wire.namespace import CLONE_NEWNET, CLONE_NEWUSER, raise_interface


def alone() -> None:
    """Enter a network namespace of our own, as root of a user namespace where we are not root.

    Root stays in its own one: to him alone the kernel tells its TCP states.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET) != 0:
        user, group = os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            raise SystemExit(f"no namespace of our own: {os.strerror(ctypes.get_errno())}")
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {user} 1"),
            ("gid_map", f"0 {group} 1"),
        ):
            Path("/proc/self", file).write_text(text)
    raise_interface("lo")
