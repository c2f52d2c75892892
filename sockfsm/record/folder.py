"""The folder of a trace: ours alone. Whoever else could write in it could put links in the way of what
we write there."""

from __future__ import annotations

import os
import stat

from sockfsm.errors import UsageError


def make_folder(folder: str) -> None:
    """Make the folder, if need be, with no rights for others. UsageError where it cannot be trusted."""
    try:
        parent = os.path.dirname(folder)
        if parent:
            os.makedirs(parent, exist_ok=True)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        else:
            return
        found = os.stat(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot make the trace's folder: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{folder}: cannot make the trace's folder: there is a file of that name")
    others = found.st_mode & stat.S_IWOTH or (
        found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()
    )
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{folder}: belongs to another user, who could put links there: not used")
    if others and not found.st_mode & stat.S_ISVTX:
        raise UsageError(
            f"{folder}: others can write there (chmod go-w it, or choose another folder)"
        )
