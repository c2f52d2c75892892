"""Shared file mappings that hold no descriptor.

Python's own `mmap` keeps a duplicate of the descriptor (until 3.13 always). In a traced program that
would shift descriptor numbers, and a program that closes every descriptor it does not know would
make a later unmap close one of its own.
"""

from __future__ import annotations

import mmap
import os
import sys


def map_file(path: str, offset: int, size: int) -> memoryview:
    """Allocate `size` bytes at `offset` of `path` on disk and map them shared.

    OSError when the file cannot be opened or the disk is full: the space is allocated first, so
    that writing to the memory never raises SIGBUS.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, offset, size)
        return _map(descriptor, offset, size)
    finally:
        os.close(descriptor)


if sys.version_info >= (3, 13):

    def _map(descriptor: int, offset: int, size: int) -> memoryview:
        return memoryview(mmap.mmap(descriptor, size, offset=offset, trackfd=False))

else:

    def _map(descriptor: int, offset: int, size: int) -> memoryview:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        pointer, size_t, c_int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        libc.mmap.argtypes = (pointer, size_t, c_int, c_int, c_int, ctypes.c_longlong)
        libc.munmap.argtypes = (pointer, size_t)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        address = libc.mmap(None, size, protection, mmap.MAP_SHARED, descriptor, offset)
        if address in (None, ctypes.c_void_p(-1).value):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

        class Mapping(ctypes.c_char * size):  # type: ignore[misc]
            """Unmaps itself with its last user, which may be a thread that is still writing."""

            def __del__(self, munmap: object = libc.munmap, address: int = address) -> None:
                munmap(address, size)  # type: ignore[operator]

        return memoryview(Mapping.from_address(address)).cast("B")
