"""Opens what is to be read. A pipe in its place would make the reader wait for ever."""

from __future__ import annotations

import os
import stat
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO


def regular(path: Path | str) -> BinaryIO:
    """The file at `path`. OSError when it cannot be opened or is something else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")
