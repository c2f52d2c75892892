"""Finds protocols by name: the built-in ones, and those of users."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from sockfsm.errors import UsageError
from sockfsm.model.kinds import KINDS, add_table
from sockfsm.protocols.protocol import Protocol

BUILT_IN = {"smtp": "sockfsm.protocols.smtp:SMTP"}


def protocol(name: str) -> Protocol:
    """The protocol `smtp`, `package.module:NAME` or `folder/file.py:NAME`.

    Its machine is a kind from then on: predictions, pages and pictures take its name. UsageError where
    there is no such thing.
    """
    where, _, attribute = BUILT_IN.get(name, name).rpartition(":")
    if not where:
        known = ", ".join(BUILT_IN)
        raise UsageError(
            f"no protocol {name!r}: choose one of {known}, or write MODULE:NAME or FILE.py:NAME"
        )
    found = getattr(_module(where), attribute, None)
    if not isinstance(found, Protocol):
        raise UsageError(f"{where} has no Protocol of the name {attribute}")
    add_table(found.table)
    return found


def kind_named(name: str) -> str:
    """The kind of a socket, or the name of a protocol whose machine this makes known. UsageError."""
    if name in KINDS:
        return name
    if not is_protocol(name):
        known = ", ".join((*KINDS, *BUILT_IN))
        raise UsageError(f"no kind {name!r}: choose one of {known}, or write FILE.py:NAME")
    return protocol(name).name


def is_protocol(name: str) -> bool:
    """Whether this names a protocol, known or not."""
    return name in BUILT_IN or (":" in name and not Path(name).exists())


def _module(where: str) -> ModuleType:
    try:
        return _from_file(Path(where).resolve()) if where.endswith(".py") else import_module(where)
    except ImportError as error:
        raise UsageError(f"{where}: {error}") from None


@cache
def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # A dataclass, or another decorator in the file, may look it up.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module
