"""Stages for the begin and the end of a life: failing births, unlinked paths, the program's end."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sockfsm.conform.bench import Bench, UnixBench
from sockfsm.conform.rare import as_nobody, without_descriptors
from sockfsm.conform.stages import StageError

_CLONE_NEWNS, _MS_RDONLY, _MS_REC, _MS_PRIVATE = 0x20000, 1, 1 << 14, 1 << 18
_PROTOCOLS = {"protocol": 300, "other": socket.IPPROTO_IGMP}
"""A protocol that does not exist, and one of another type."""
_NO_FLAG = 1 << 20


class Born(Bench):
    """The script makes the socket.

    how: why that fails: `descriptors`, `unknown` (a flag), or one of _PROTOCOLS.
    """

    how = ""

    def begin(self) -> socket.socket:
        super().begin().close()
        self.sock = socket.socket(self.family, self.type)
        self.sock.close()
        return self.sock

    def step(self, sock: socket.socket, call: str) -> str:
        return super().step(self.sock, call)

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call == "resolve":
            return lambda: socket.getaddrinfo(self.host, 9)
        if call not in ("create", "socketpair"):
            return super().deed(sock, call)
        deed = partial(self._bear, getattr(socket, {"create": "socket"}.get(call, call)))
        return without_descriptors(deed) if self.how == "descriptors" else deed

    def _bear(self, maker: Callable[..., socket.socket | tuple[socket.socket, ...]]) -> None:
        type_ = self.type | (_NO_FLAG if self.how == "unknown" else 0)
        made = maker(self.family, type_, _PROTOCOLS.get(self.how, 0))
        self.sock, *others = (made,) if isinstance(made, socket.socket) else made
        self.sock.setblocking(False)
        for other in others:
            other.close()

    def tried(self, sock: socket.socket) -> socket.socket:
        return self.sock

    def dispose(self, sock: socket.socket) -> None:
        super().dispose(self.sock)


class ProgramEnds(Bench):
    """The program ends: a child that alone holds the socket exits."""

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        return partial(_end, sock) if call == "exit" else super().deed(sock, call)


def _end(sock: socket.socket) -> None:
    inode = str(os.fstat(sock.fileno()).st_ino) if sock.fileno() >= 0 else ""
    hold, release = os.pipe()
    child = os.fork()
    if not child:
        os.close(release)
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    sock.close()
    os.close(release)
    status = os.waitpid(child, 0)[1]
    tables = (Path("/proc/self/net", name).read_text() for name in ("tcp", "udp", "unix"))
    if status or any(inode and f" {inode} " in table for table in tables):
        raise StageError("the program's end left its socket")


class Unlinked(Born, UnixBench):
    """unlink() gets the path of the latest bind(), or `place` in the bench's folder."""

    place = ""

    def open(self) -> None:
        super().open()
        folder = self.folder()
        folder.chmod(0o755)
        for name, mode in (("closed", 0), ("sticky", 0o1777), ("folder", 0o755)):
            (folder / name).mkdir()
            (folder / name / "x").touch()
            (folder / name).chmod(mode)
        (folder / "file").touch()

    def folder(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name)

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        if call != "unlink":
            return super().deed(sock, call)
        path = self.folder() / self.place if self.place else Path(self._bound[-1])
        return as_nobody(path.unlink) if "/" in self.place else path.unlink

    def act_out(self, act: str) -> None:
        """`!stale`: make a path that no socket has. `!remove`: remove the path."""
        if act == "stale":
            Path(str(self.fresh())).touch()
        else:
            Path(self._bound[-1]).unlink()


class ReadOnly(Unlinked):
    """The folder is on a read-only file system, in a mount namespace of its own."""

    place = "folder/x"

    def open(self) -> None:
        super().open()
        libc = ctypes.CDLL(None, use_errno=True)
        private = (b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        ours = (b"none", os.fsencode(self.folder() / "folder"), b"tmpfs", _MS_RDONLY, None)
        if libc.unshare(_CLONE_NEWNS) or libc.mount(*private) or libc.mount(*ours):
            raise StageError(f"no file system of our own: {os.strerror(ctypes.get_errno())}")

    def close(self) -> None:
        if self.peer is not None:
            ctypes.CDLL(None).umount2(os.fsencode(self.folder() / "folder"), 0)
        super().close()

    def deed(self, sock: socket.socket, call: str) -> Callable[[], object]:
        path = self.folder() / self.place
        deeds = {"unlink": path.unlink, "bind": lambda: sock.bind(str(path))}
        return deeds.get(call) or super().deed(sock, call)
