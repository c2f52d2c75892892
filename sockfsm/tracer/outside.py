"""Two steps of a socket's life that are no method of it: resolving a name, removing a path."""

from __future__ import annotations

import os
import socket as _stdlib
import stat
from types import FrameType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import NUMBER
from sockfsm.tracer.addresses import packed
from sockfsm.tracer.likeness import from_line_of, genuine, like
from sockfsm.tracer.ongoing import outcome_of, waiting
from sockfsm.tracer.places import caller, site_of
from sockfsm.tracer.recorder import log, me
from sockfsm.tracer.rows import head, step, unmodelled
from sockfsm.tracer.sockets import paths

_getaddrinfo = genuine(_stdlib.getaddrinfo)
_unlink = genuine(os.unlink)
_remove = genuine(os.remove)
_lstat = os.lstat
_fsencode, _fsdecode = os.fsencode, os.fsdecode
_is_a_socket = stat.S_ISSOCK


def getaddrinfo(
    host: Any, port: Any, family: Any = 0, type: Any = 0, proto: Any = 0, flags: Any = 0
) -> Any:
    method, row = NUMBER["getaddrinfo"], unmodelled().initial
    begin, site, thread = Clocks.monotonic(), site_of(caller()), me.number
    held = waiting.get(thread)
    waiting[thread] = None, method, begin, site
    outcome, count = "raised", 0
    try:
        results = _getaddrinfo(host, port, family, type, proto, flags)
        outcome, count = "ok", len(results)
        me.resolved = True
    except OSError as error:
        outcome = outcome_of(error, "resolve")[0]
        raise
    finally:
        end = Clocks.monotonic()
        if held is None:
            waiting.pop(thread, None)
        else:
            waiting[thread] = held
        form, _, place = packed((_text(host), _text(port), "resolve"))
        bits = head(row, row, method, outcome) | form
        log.write(begin, end, bits, 0, site, thread, 0, place | count)
    return results


def _text(value: Any) -> Any:
    """A host or a port as the trace shows it: as it was given, a number as text."""
    if type(value) is bytes:
        return value.decode("latin-1")
    return str(value) if type(value) is int or value is None else value


def unlink(*args: Any, **named: Any) -> None:
    return _removed(_unlink, args, named, caller())


def remove(*args: Any, **named: Any) -> None:
    return _removed(_remove, args, named, caller())


def _removed(
    original: Any, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> None:
    """Remove a path; logged when it is a socket's."""
    path, begin = _plain_path(args, named), Clocks.monotonic()
    if path is None:
        if frame is None:
            original(*args, **named)
        else:
            from_line_of(frame, original, args, named)
        return
    ours = _is_socket(path)
    try:
        original(*args, **named)
    except FileNotFoundError:
        me.missing = path, begin, Clocks.monotonic(), site_of(frame)
        raise
    except OSError as error:
        if ours:
            _log(path, outcome_of(error, "unlink")[0], begin, frame)
        raise
    if ours:
        _log(path, "ok", begin, frame)


def _plain_path(args: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """The path that is to be removed; None where only the program's own code could tell it."""
    if named.get("dir_fd") is not None or len(args) > 1:
        return None
    path = args[0] if args else named.get("path")
    if type(path).__module__.partition(".")[0] == "pathlib":
        path = str(path)
    return _fsdecode(path) if type(path) is str or type(path) is bytes else None


def _is_socket(path: str) -> bool:
    try:
        return _is_a_socket(_lstat(path).st_mode)
    except (OSError, ValueError):
        return False  # absent, or no path at all: the call itself says so


def _log(path: str, outcome: str, begin: int, frame: FrameType | None) -> None:
    end, method, owner = Clocks.monotonic(), NUMBER["unlink"], None
    if outcome == "ok":
        owner = paths.pop(_fsencode(path), None)
    if owner is not None:
        row, number = owner.row, owner.number
        bits, owner.row = step(row, method, outcome, "", owner)
    else:
        row, number = unmodelled().initial, 0
        bits = head(row, row, method, outcome)
    form, _, place = packed(path)
    log.write(begin, end, bits | form, number, site_of(frame), me.number, 0, place)


FUNCTIONS: tuple[tuple[Any, str, Any], ...] = (
    (_stdlib, "getaddrinfo", like(getaddrinfo, _getaddrinfo)),
    (os, "unlink", like(unlink, _unlink, "os")),
    (os, "remove", like(remove, _remove, "os")),
)
"""(module, attribute, what stands in its place while a process is traced)."""

_SETS = (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd, os.supports_effective_ids)


def claim_support(original: Any, function: Any) -> None:
    """Let `function` have what `os` says that `original` can: shutil looks there."""
    for known in _SETS:
        if original in known:
            known.add(function)


def drop_support(function: Any) -> None:
    """Take it back."""
    for known in _SETS:
        known.discard(function)
