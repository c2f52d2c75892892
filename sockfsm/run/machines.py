"""Compiled machines from one run to the next: a program's first socket need not wait for them.

They are lent to the trace's folder, where its processes find them, and kept when the run is over.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sockfsm.model.kept import kept_in
from sockfsm.model.stored import PREFIX


def lend(folder: Path) -> None:
    """Put the machines that are known into `folder`."""
    with suppress(OSError):
        for kept in kept_in().glob(f"{PREFIX}*.json"):
            shutil.copyfile(kept, folder / kept.name)


def keep(folder: Path) -> None:
    """Take the machines out of `folder`; those that were not known, or not so, stay in the cache."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            _keep(left, kept_in() / left.name)
        left.unlink(missing_ok=True)


def _keep(left: Path, kept: Path) -> None:
    if left.suffix != ".json" or (kept.exists() and kept.read_bytes() == left.read_bytes()):
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copyfile(left, fresh)
    os.replace(fresh, kept)
