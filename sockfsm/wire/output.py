"""The file that the capturing process writes: whole blocks, whatever befalls the disk.

As `sockfsm.private` makes files, by `posix` alone: see `sockfsm.wire.capturer`.
"""

from __future__ import annotations

import posix
import time
from errno import EIO

from sockfsm.wire.ring import RefusedError

_CREATE = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
_AGAIN = posix.O_RDWR | posix.O_NOFOLLOW | posix.O_CLOEXEC


def missing(path: str) -> None:
    """Take a file away, if there is one. OSError."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


class File:
    """The pcapng file. It ends with a whole block always, and goes on after a disk that was full.

    lost: packets that could not be written; error, since: why, and when that began.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = self.packets = self.lost = 0
        self.error, self.since = "", 0.0
        try:
            # Never O_TRUNC: a planted link would have somebody's file emptied.
            missing(path)
            self.descriptor = posix.open(path, _CREATE, 0o600)
        except OSError as error:
            raise RefusedError("file", f"{path}: {error.strerror}") from None

    def write(self, data: bytes, packets: int = 0) -> bool:
        view, written = memoryview(data), 0
        try:
            while written < len(data):
                written += posix.write(self.descriptor, view[written:])
        except OSError as error:
            posix.ftruncate(self.descriptor, self.size)
            posix.lseek(self.descriptor, self.size, 0)
            self.refuse(packets, error.strerror or str(error))
            return False
        self.size += written
        self.packets += packets
        return True

    def refuse(self, packets: int, reason: str) -> None:
        """Count packets that are not written."""
        self.lost += packets
        if not self.error:
            self.error, self.since = reason, time.time()

    def go_on_in(self, fresh: str, size: int, packets: int) -> None:
        """Take the place of our first `size` bytes from a file, and then ours. OSError."""
        descriptor = posix.open(fresh, _AGAIN)
        try:
            end = posix.lseek(descriptor, 0, 2)
            while size < self.size:
                # Whatever has our name by now, the packets are in what we have open.
                copied = posix.sendfile(descriptor, self.descriptor, size, self.size - size)
                if not copied:
                    raise OSError(EIO, "somebody has cut the file")
                size, end = size + copied, end + copied
            posix.replace(fresh, self.path)
        except OSError:
            posix.close(descriptor)
            raise
        posix.close(self.descriptor)
        self.descriptor, self.size, self.packets = descriptor, end, packets
