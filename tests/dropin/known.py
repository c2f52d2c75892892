"""Differences between plain and traced that are meant, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from differ import Difference

KNOWN: dict[str, str] = {
    r"environ( of C| of a child)? (PYTHONPATH|SOCKFSM_\w+)'?": "so are its Pythons traced",
    r"child \[.*\]": "the same, shown whole",
    r"atexit": "the log is ended at exit, after all that the program registered",
    r"(type |vars )?socket\.socket[. ].*": "methods of C are functions of Python while they are traced",
    r"(type )?os\.(unlink|remove).*": "the same",
    r"os is posix (unlink|remove)": "the same",
    r"same method .*": "the same",
    r"ssl\.SSLSocket( |\.\w+ ).*": "the same",
    r"bound": "the same",
    r"site": "the path of the user's sitecustomize, if there is one",
    r"(hints|socket\.socket signature)": "the same",
}
"""Case of `programs/seen.py` (whole) -> why it is not the same."""

ADDED = r"(module|sys\.path_importer_cache|sys\.path_hooks) .*"
"""There may be more of these, as what tracing needs is loaded before the program's first line."""
AWAITED: dict[str, str] = {
    "small_files": "a line of ours on the program's standard error",
    "small_files_deadly": "the same",
    "accepting": "the same, for a mock in the place of socket.socket",
    "little_memory": "MemoryError out of a send that was done",
    "logs_removed": "the supervisor needs the folder at the end",
    "builtins_replaced": "replaced builtins are called by the tracer",
    "seen": "os.supports_dir_fd, getaddrinfo.__wrapped__, a subclass of _socket.socket",
    "functions": "a DeprecationWarning of unlink comes from a file of ours",
    "Override": "close asks for _io_refs once more",
}
"""Defects that are known and not mended yet: what is mended must leave this list (strict)."""


def awaited(name: str) -> list[pytest.MarkDecorator]:
    """The mark of a test that cannot pass yet."""
    if name not in AWAITED:
        return []
    return [pytest.mark.xfail(strict=True, reason=AWAITED[name], raises=AssertionError)]


def unexplained(found: Iterable[Difference]) -> list[Difference]:
    """Those that are not in the list."""
    known = re.compile("|".join(f"(?:{pattern})" for pattern in KNOWN))
    return [
        each
        for each in found
        if not known.fullmatch(each.case)
        and not (each.plain is None and re.fullmatch(ADDED, each.case))
    ]
