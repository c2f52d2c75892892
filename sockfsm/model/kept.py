"""Where compiled machines are kept from one process to the next.

In $XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification), by a digest of what they come from.
Where nothing can be kept, each process compiles for itself.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path


def kept_in() -> str:
    """The folder, made; '' where nothing can be kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    try:
        folder = os.path.join(home, "sockfsm", _digest())
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return ""
    return folder


def _digest() -> str:
    """What the machines depend on: our rules, and the library that makes machines of them."""
    library = find_spec("transitions")
    version = os.stat(library.origin).st_mtime_ns if library and library.origin else 0
    known = hashlib.sha256(str(version).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        known.update(source.read_bytes())
    return known.hexdigest()[:16]
