"""Compiled machines from one run to the next: a program's first socket need not wait for them.

They are lent to the trace's folder, where `model.stored` finds them, and kept when the run is over, in
$XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification), by a digest of the rules that they come
from. Where nothing can be kept, each run compiles for itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import sockfsm.model
from sockfsm.model.stored import PREFIX


def lend(folder: Path) -> None:
    """Put the machines that are known into `folder`."""
    with suppress(OSError):
        for kept in _cache().glob(f"{PREFIX}*.json"):
            shutil.copyfile(kept, folder / kept.name)


def keep(folder: Path) -> None:
    """Take the machines out of `folder`; those that were not known, or not so, stay in the cache."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            _keep(left, _cache() / left.name)
        left.unlink(missing_ok=True)


def _keep(left: Path, kept: Path) -> None:
    if left.suffix != ".json" or (kept.exists() and kept.read_bytes() == left.read_bytes()):
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copyfile(left, fresh)
    os.replace(fresh, kept)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "sockfsm" / _digest()


@cache
def _digest() -> str:
    """What the machines depend on: our rules, and the library that makes machines of them."""
    library = find_spec("transitions")
    version = os.stat(library.origin).st_mtime_ns if library and library.origin else 0
    known = hashlib.sha256(str(version).encode())
    for source in sorted(Path(sockfsm.model.__path__[0]).glob("*.py")):
        known.update(source.read_bytes())
    return known.hexdigest()[:16]
