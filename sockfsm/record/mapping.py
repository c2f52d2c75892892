"""Shared file mappings that hold no descriptor.

Python's own `mmap` keeps a duplicate of the descriptor (until 3.13 always). In a traced program that
would shift descriptor numbers, and a program that closes every descriptor it does not know would
make a later unmap close one of its own.

All that mapping needs is made when this module is loaded: later the program may have no descriptor
or memory left, or no way to the standard library, and may have put functions of its own into `os`.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from errno import EFBIG
from os import (
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_RDWR,
    close,
    open,
    posix_fallocate,
    strerror,
    unlink,
)
from resource import RLIM_INFINITY, RLIMIT_FSIZE, getrlimit

Mapper = Callable[[str, int, int], memoryview]


def mapper(size: int) -> Mapper:
    """Gives a function of (path, offset, flags of `open`): allocate `size` bytes there and map them.

    It raises OSError when the file cannot be opened or the disk is full: the space is allocated first,
    so that writing to the memory never raises SIGBUS.
    """
    mapped = _mapped(size)

    def map_file(path: str, offset: int, flags: int) -> memoryview:
        limit = getrlimit(RLIMIT_FSIZE)[0]
        if limit != RLIM_INFINITY and offset + size > limit:
            # Asked for more, the kernel would send SIGXFSZ, which may end the program.
            raise OSError(EFBIG, strerror(EFBIG))
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0o600)
        try:
            posix_fallocate(descriptor, offset, size)
            return mapped(descriptor, offset)
        except BaseException:
            if flags & O_EXCL:
                unlink(path)  # it was made for this
            raise
        finally:
            close(descriptor)

    return map_file


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
