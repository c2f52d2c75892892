"""Files that only their owner may read, made so that nobody can plant another one in their place."""

from __future__ import annotations

import os
from contextlib import suppress

MODE = 0o600
FOLDER_MODE = 0o700
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(path: str | os.PathLike[str]) -> int:
    """A descriptor of a new, empty file; what had its name before, a link too, is taken away first.

    OSError, also when somebody else puts something there meanwhile.
    """
    # Never O_TRUNC: through a planted link, or a second name, it would empty somebody's file.
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, _FLAGS, MODE)


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file at once: whoever reads it sees the old content or the new. OSError."""
    folder, name = os.path.split(os.fspath(path))
    fresh = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with os.fdopen(create(fresh), "wb") as file:
            file.write(data)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)
        raise
