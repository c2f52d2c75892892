"""The file that the capturing process writes. It never ends within a block, even on a full disk.

Files are made as in `sockfsm.private`, but only with `posix`, because imports delay the capture.
"""

from __future__ import annotations

import posix
import time
from errno import EIO

from sockfsm.wire.ring import RefusedError

_CREATE = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
_AGAIN = posix.O_RDWR | posix.O_NOFOLLOW | posix.O_CLOEXEC


def missing(path: str) -> None:
    """Remove a file, if there is one. OSError if that fails."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


class File:
    """The pcapng file. It always ends with a whole block, and goes on once a full disk has room again.

    lost: packets that could not be written; error, since: why, and when that began.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = self.packets = self.lost = 0
        self.error, self.since = "", 0.0
        try:
            # Never O_TRUNC: through a planted link it would empty somebody's file.
            missing(path)
            self.descriptor = posix.open(path, _CREATE, 0o600)
        except OSError as error:
            raise RefusedError("file", f"{path}: {error.strerror}") from None

    def write(self, data: bytes, packets: int = 0) -> bool:
        """Write whole blocks with so many packets; False if there is no room for all of them."""
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
        """Count packets that could not be written."""
        self.lost += packets
        if not self.error:
            self.error, self.since = reason, time.time()

    def go_on_in(self, fresh: str, size: int, packets: int) -> None:
        """Replace our first `size` bytes by the file `fresh`, and go on there. OSError if it fails."""
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
