"""Files that only their owner may read, made so that nobody can plant another one in their place.

Everything of a trace that is written is made or opened here, but for two that may import next to
nothing: `record.mapping` in the traced program and `wire.output` in the capturing process.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOTDIR, EPERM
from typing import BinaryIO

MODE = 0o600
FOLDER_MODE = 0o700
_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS
_LOOK = os.O_RDONLY | os.O_NONBLOCK | _ALWAYS
_AGAIN = os.O_RDWR | _ALWAYS


def create(path: str | os.PathLike[str]) -> int:
    """A descriptor of a new, empty file; what had its name before, a link too, is taken away first.

    OSError, also when somebody else puts something there meanwhile.
    """
    _in_place(path)
    # Never O_TRUNC: through a planted link, or a second name, it would empty somebody's file.
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, _NEW, MODE)


def again(path: str | os.PathLike[str]) -> int:
    """A descriptor of a file of ours, to read and to write.

    OSError, also where it is somebody else's, a link, or has a second name.
    """
    _in_place(path)
    looked = os.open(path, _LOOK)
    try:
        found = os.fstat(looked)
        if not _ours(found):
            raise PermissionError(EPERM, "not a file of ours", os.fspath(path))
        if not found.st_mode & stat.S_IWUSR:
            os.fchmod(looked, MODE)  # of a log in use: see `record.mapping`
        descriptor = os.open(path, _AGAIN)
        if not os.path.samestat(os.fstat(descriptor), found):
            os.close(descriptor)
            raise PermissionError(EPERM, "was replaced just now", os.fspath(path))
    finally:
        os.close(looked)
    return descriptor


def _in_place(path: str | os.PathLike[str]) -> None:
    """OSError where the file's folder is a link: the program may have put it there as it ran, and it
    leads to files of others. Who else could do so, `record.folder` does not trust."""
    folder = os.path.dirname(path) or os.curdir
    if stat.S_ISLNK(os.lstat(folder).st_mode):
        raise NotADirectoryError(ENOTDIR, "a link stands where the folder was", folder)


def _ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of another at once, when the block ends: whoever reads it sees
    the old content or the new. Where the block raises the old one stays. OSError."""
    _in_place(path)
    folder, name = os.path.split(os.fspath(path))
    # A name that nobody can know before; and no two of ours meet in it.
    fresh = os.path.join(folder, f".{name}.{os.urandom(8).hex()}")
    with os.fdopen(os.open(fresh, _NEW, MODE), "wb") as file:
        try:
            yield file
            file.flush()
            os.replace(fresh, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh)
            raise


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file at once. OSError."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Holds a lock by the name of a file, which is empty and there for that; whether it could be had.

    A process that is forked meanwhile does not inherit it. OSError where the file cannot be made.
    """
    _in_place(path)
    try:
        descriptor = os.open(path, _NEW, MODE)
    except FileExistsError:
        descriptor = again(path)
    with os.fdopen(descriptor, "rb"):
        try:
            os.lockf(descriptor, os.F_TLOCK, 0)
            held = True
        except (BlockingIOError, PermissionError):
            held = False
        except OSError:
            held = True  # a file system without locks
        # It keeps its name until whoever has the lock is done: under another one it is no lock.
        held = held and _same(descriptor, path)
        try:
            yield held
        finally:
            if held and _same(descriptor, path):
                os.unlink(path)


def _same(descriptor: int, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
