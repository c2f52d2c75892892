"""The folder of a trace, in which only we may write: others could put links in the way of our files."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from sockfsm import private
from sockfsm.errors import UsageError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_CANNOT = "cannot make the trace's folder"


def make_folder(folder: str) -> None:
    """Make the folder, if need be, with no rights for others. UsageError where it cannot be trusted."""
    try:
        parent = os.path.dirname(folder)
        if parent:
            os.makedirs(parent, exist_ok=True)
        _above(folder)  # before it is made: what is refused leaves nothing behind
        with suppress(FileExistsError):
            os.mkdir(folder, private.FOLDER_MODE)
        trusted(folder)
    except OSError as error:
        raise UsageError(f"{folder}: {_CANNOT}: {error.strerror}") from None


def trusted(folder: str) -> None:
    """UsageError where others than we can put files there. OSError where there is no such folder."""
    found = os.lstat(folder)
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{folder}: is a link, which can be set elsewhere: give the folder itself")
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{folder}: {_CANNOT}: there is a file of that name")
    # Not root's either: a user may have told root's program of it (`sudo -E`), or the other way round.
    if found.st_uid != os.geteuid():
        raise UsageError(f"{folder}: belongs to another user, who could put links there: not used")
    if found.st_mode & _OTHERS:
        raise UsageError(
            f"{folder}: others can write there (chmod go-w it, or choose another folder)"
        )


def _above(folder: str) -> None:
    """UsageError where anybody can put another folder in the place of this one."""
    path = os.path.realpath(folder)
    while path != (path := os.path.dirname(path)):
        mode = os.stat(path).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise UsageError(
                f"{folder}: others can write in {path}, and replace it there (chmod o-w or +t that, "
                "or choose another folder)"
            )
