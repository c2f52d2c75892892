"""Differences between plain and traced that are meant, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable

from differ import Difference

KNOWN: dict[str, str] = {
    r"environ( of C| of a child)? (PYTHONPATH|SOCKFSM_\w+)'?": "so are its Pythons traced",
    r"child \[.*\]": "the same, shown whole",
    r"atexit": "the log is ended at exit, after all that the program registered",
    r"(type |vars )?socket\.socket[. ].*": "methods of C are functions of Python while they are traced",
    r"(type )?os\.(unlink|remove|dup2|posix_spawnp?|system).*": "the same",
    r"os is posix (unlink|remove|dup2|posix_spawnp?|system)": "the same",
    r"same method .*": "the same",
    r"ssl\.SSLSocket( |\.\w+ ).*": "the same",
    r"bound": "the same",
    r"site": "the path of the user's sitecustomize, if there is one",
    r"socket\.getaddrinfo (__wrapped__|dir|file)": "a function stands in its place while it is traced",
    r"os\.supports_dir_fd": "it has both: the program may have kept the first",
    r"(hints|socket\.socket signature)": "the same",
}
"""Case of `programs/seen.py` (whole) -> why it is not the same."""

ADDED = r"(module|sys\.path_importer_cache|sys\.path_hooks) .*"
"""There may be more of these, as what tracing needs is loaded before the program's first line."""


def unexplained(found: Iterable[Difference]) -> list[Difference]:
    """Those that are not in the list."""
    known = re.compile("|".join(f"(?:{pattern})" for pattern in KNOWN))
    return [
        each
        for each in found
        if not known.fullmatch(each.case)
        and not (each.plain is None and re.fullmatch(ADDED, each.case))
    ]
