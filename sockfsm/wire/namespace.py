"""Enters a network namespace of our own, so that we can capture without root.

Without root a user namespace comes with it. Inside, this process may open packet sockets. The programs
that it starts keep their user and group, but see only a loopback of their own. Sources:
user_namespaces(7), netdevice(7).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable
from fcntl import ioctl

from sockfsm.errors import SockfsmError

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

MEANING = (
    "in a network namespace of its own: the program sees only its own loopback, and nobody outside "
    "can connect to it"
)
# Measured: the kernel ignores the set-user-ID bit of a file whose owner is unknown in the namespace.
RIGHTS = "programs that get rights from their file (sudo, ping, su) do not get them there"
_ELSE = (
    "for the host's network do without packets (--no-capture), run as root (sudo), or give Python "
    "the capability (setcap cap_net_raw+ep)"
)


class NamespaceError(SockfsmError):
    """No namespace can be entered here. The message says why, and what to do instead."""


def needed() -> bool:
    """Whether this process lacks the permission to capture."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return True
    return False


def possible() -> bool:
    """Whether this process could enter a namespace. A child tries it, so nothing changes here."""
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        status = 1
        try:
            enter()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def enter() -> str:
    """Move this process, which must have a single thread, into a network of its own, with `lo` up.

    User and group stay the same. Without the right to make a network namespace, a user namespace is
    made as well. Returns a sentence that says what this means for a program. NamespaceError where it is
    not possible; nothing has changed then, unless only bringing up the loopback failed.
    """
    if not sys.platform.startswith("linux"):
        raise NamespaceError("network namespaces exist on Linux only")
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    # As root a network namespace is enough. A user namespace would take rights away.
    alone = not needed() and libc.unshare(CLONE_NEWNET) == 0
    if not alone and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        error = os.strerror(ctypes.get_errno())
        raise NamespaceError(
            f"no namespace of our own ({error}; user namespaces may be switched off, or this "
            "process has several threads): use sudo, setcap cap_net_raw, or --no-capture"
        )
    try:
        if not alone:
            # The kernel demands this before an unprivileged process may write gid_map.
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{user} {user} 1")
            _write("/proc/self/gid_map", f"{group} {group} 1")
        raise_interface("lo")
    except OSError as error:
        raise NamespaceError(f"the namespace cannot be set up: {error}") from None
    return MEANING if alone else f"{MEANING}; {RIGHTS}"


def enter_to_capture(report: Callable[[str], None]) -> str:
    """Enter a namespace if capturing needs one, and say so with `report`.

    Returns what `enter` returned, or '' if none was needed or none is possible. For a process with a
    single thread.
    """
    if not (needed() and possible()):
        return ""
    meaning = enter()
    report(f"no permission to capture packets (CAP_NET_RAW): {meaning}; {_ELSE}")
    return meaning


def raise_interface(name: str) -> None:
    """Bring an interface up. OSError where that is not permitted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack_from("=H", ioctl(handle.fileno(), SIOCGIFFLAGS, request), 16)[0]
        ioctl(handle.fileno(), SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | IFF_UP))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
