"""A network namespace of our own, without root a user namespace with it: capturing without root.

Inside, this process may open packet sockets; the programs that it starts keep their user and group
but see no network besides a loopback of their own. Sources: user_namespaces(7), netdevice(7).
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
# Measured: the kernel passes over set-user-ID bits of owners that the user namespace does not have.
RIGHTS = "what gets rights by its file (sudo, ping, su) does not get them there"
_ELSE = (
    "for the host's network do without packets (--no-capture), run as root (sudo), or give Python "
    "the capability (setcap cap_net_raw+ep)"
)


class NamespaceError(SockfsmError):
    """No namespace can be had here: says why, and what else there is."""


def needed() -> bool:
    """Whether capturing is not permitted to this process where it is."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return True
    return False


def possible() -> bool:
    """Whether a child process of ours could enter a namespace (tried out, nothing changes here)."""
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
    """Move this process, which must have a single thread, into a network of its own, `lo` up.

    User and group stay what they are; who may not make a network gets a user namespace with it.
    Returns what that means for a program. Raises NamespaceError; nothing has changed then, unless
    the kernel gave the namespace but not its loopback.
    """
    if not sys.platform.startswith("linux"):
        raise NamespaceError("network namespaces exist on Linux only")
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    alone = not needed() and libc.unshare(CLONE_NEWNET) == 0
    if not alone and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        error = os.strerror(ctypes.get_errno())
        raise NamespaceError(
            f"no namespace of our own ({error}; user namespaces may be switched off, or this "
            "process has several threads): use sudo, setcap cap_net_raw, or --no-capture"
        )
    try:
        if not alone:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{user} {user} 1")
            _write("/proc/self/gid_map", f"{group} {group} 1")
        raise_interface("lo")
    except OSError as error:
        raise NamespaceError(f"the namespace cannot be set up: {error}") from None
    return MEANING if alone else f"{MEANING}; {RIGHTS}"


def enter_to_capture(report: Callable[[str], None]) -> str:
    """Enter, and say so, where capturing is not permitted otherwise; what it means, '' if not done.

    For a program of ours that has a single thread. Where no namespace can be had nothing is done.
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
