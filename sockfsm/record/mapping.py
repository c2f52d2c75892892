"""Shared file mappings that hold no descriptor.

Python's own `mmap` keeps a duplicate of the descriptor (until 3.13 always). In a traced program that
would shift descriptor numbers, and a program that closes every descriptor it does not know would
make a later unmap close one of its own.

If somebody truncates a file while it is mapped, the kernel ends the program by SIGBUS at its next
record. So a mapped file is read-only even for its owner: to truncate it takes root, or a chmod first.

All that mapping needs is made when this module is loaded: later the program may have no descriptor
or memory left, or no way to the standard library, and may have put functions of its own into `os`.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from errno import EFBIG, ENOTDIR
from os import (
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_RDWR,
    close,
    fchmod,
    ftruncate,
    lstat,
    open,
    posix_fallocate,
    strerror,
    unlink,
)
from resource import RLIM_INFINITY, RLIMIT_FSIZE, getrlimit
from stat import S_ISLNK, S_ISREG

Mapper = Callable[[str, int, int], memoryview]
_ALWAYS = O_CLOEXEC | O_NOFOLLOW
_TRIES = 100
_IN_USE, _FINISHED = 0o400, 0o600


def mapper(size: int) -> Mapper:
    """Gives a function of (path, offset, flags): allocate `size` bytes there and map them.

    flags: O_EXCL for a new file, which is made; 0 for one that we have made. It raises OSError when the
    file cannot be opened or the disk is full: the space is allocated first, so that writing to the
    memory raises no SIGBUS.
    """
    mapped = _mapped(size)

    def map_file(path: str, offset: int, flags: int) -> memoryview:
        limit = getrlimit(RLIMIT_FSIZE)[0]
        if limit != RLIM_INFINITY and offset + size > limit:
            # Asked for more, the kernel would send SIGXFSZ, which may end the program.
            raise OSError(EFBIG, strerror(EFBIG))
        _in_place(path)
        if flags & O_EXCL:
            descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | _ALWAYS, _FINISHED)
        else:
            descriptor = _again(path)
        try:
            posix_fallocate(descriptor, offset, size)
            memory = mapped(descriptor, offset)
            _permit(descriptor, _IN_USE)
            return memory
        except BaseException:
            if flags & O_EXCL:
                unlink(path)  # it was made for this
            raise
        finally:
            close(descriptor)

    return map_file


def shorten(path: str, size: int) -> None:
    """Cut a file of ours that is mapped no more. OSError."""
    _in_place(path)
    descriptor = _again(path)
    try:
        ftruncate(descriptor, size)
        _permit(descriptor, _FINISHED)
    finally:
        close(descriptor)


def take_away_empty(path: str) -> bool:
    """Whether there was an empty file, which is gone now. OSError."""
    found = lstat(path)
    if found.st_size or not S_ISREG(found.st_mode):
        return False
    unlink(path)
    return True


def _in_place(path: str) -> None:
    """As in `sockfsm.private`."""
    folder = path.rpartition("/")[0] or "/"
    if S_ISLNK(lstat(folder).st_mode):
        raise NotADirectoryError(ENOTDIR, strerror(ENOTDIR), folder)


def _again(path: str) -> int:
    """Open a file of ours to write. OSError."""
    for _ in range(_TRIES):
        try:
            return open(path, O_RDWR | _ALWAYS)
        except PermissionError:
            looked = open(path, O_RDONLY | _ALWAYS)
            try:
                fchmod(looked, _FINISHED)
            finally:
                close(looked)
        # Another thread may just now have made it read-only again.
    return open(path, O_RDWR | _ALWAYS)


def _permit(descriptor: int, mode: int) -> None:
    try:
        fchmod(descriptor, mode)
    except OSError as error:
        traceback = error.__traceback__
        if traceback is not None and traceback.tb_next is not None:
            raise  # by a signal handler
        # A file system without modes: it is as safe as it can be.


if sys.version_info >= (3, 13):

    def _mapped(size: int) -> Callable[[int, int], memoryview]:
        map_ = mmap.mmap
        return lambda descriptor, offset: memoryview(
            map_(descriptor, size, offset=offset, trackfd=False)
        )

else:
    import ctypes
    from functools import partial
    from operator import setitem
    from weakref import ref

    def _mapped(size: int) -> Callable[[int, int], memoryview]:
        pointer, size_t, c_int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        libc = ctypes.CDLL(None, use_errno=True)
        map_, unmap, errno = libc.mmap, libc.munmap, ctypes.get_errno
        map_.restype = pointer
        map_.argtypes = (pointer, size_t, c_int, c_int, c_int, ctypes.c_longlong)
        unmap.argtypes = (pointer, size_t)
        failed, protection = pointer(-1).value, mmap.PROT_READ | mmap.PROT_WRITE
        shared, view = mmap.MAP_SHARED, memoryview

        class Mapping(ctypes.c_char * size):  # type: ignore[misc]
            """Is unmapped after its last user, which may be a thread that is still writing."""

        # What a signal handler raises in a destructor of Python's is lost. So a function of C puts the
        # address of a mapping that nobody uses aside, and the next one that is made takes it away.
        watched: dict[int, object] = {}
        unused: dict[int, object] = {}

        def mapped(descriptor: int, offset: int) -> memoryview:
            for left in list(unused):
                if unused.pop(left, None) is not None:
                    watched.pop(left, None)
                    unmap(left, size)
            address = map_(None, size, protection, shared, descriptor, offset)
            if address in (None, failed):
                number = errno()
                raise OSError(number, strerror(number))
            mapping = Mapping.from_address(address)
            watched[address] = ref(mapping, partial(setitem, unused, address))
            return view(mapping).cast("B")

        return mapped
