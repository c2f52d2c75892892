"""Two steps of a socket's life that are no method of it: resolving a name, removing a path."""

from __future__ import annotations

import os
import socket as _stdlib
import stat
from sys import _getframe
from typing import Any

from sockfsm.record.layout import NUMBER
from sockfsm.tracer.finish import outcome_of
from sockfsm.tracer.recorder import clock, log, me, packed, site_of, waiting
from sockfsm.tracer.rows import Tracked, head, step, unmodelled
from sockfsm.tracer.sockets import paths

_getaddrinfo = _stdlib.getaddrinfo
_unlink = os.unlink
_remove = os.remove
_lstat = os.lstat


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    method, row = NUMBER["getaddrinfo"], unmodelled().initial
    begin, site = clock(), site_of(_getframe(1))
    waiting[me.number] = None, method, begin, site
    outcome, count = "raised", 0
    try:
        results = _getaddrinfo(host, port, family, type, proto, flags)
        outcome, count = "ok", len(results)
        me.resolved = True
    except OSError as error:
        outcome = outcome_of(error, "resolve")[0]
        raise
    finally:
        end = clock()
        waiting.pop(me.number, None)
        form, _, place = packed((str(host), str(port), "resolve"))
        log.write(
            begin, end, head(row, row, method, outcome) | form, 0, site, me.number, 0, place | count
        )
    return results


def unlink(path: Any, *, dir_fd: int | None = None) -> None:
    _removed(_unlink, path, dir_fd)


def remove(path: Any, *, dir_fd: int | None = None) -> None:
    _removed(_remove, path, dir_fd)


def _removed(original: Any, path: Any, dir_fd: int | None) -> None:
    """Remove `path`; logged when it is a socket's."""
    begin, frame = clock(), _getframe(2)
    ours = dir_fd is None and _is_socket(path)
    try:
        original(path, dir_fd=dir_fd)
    except FileNotFoundError:
        if dir_fd is None:
            me.missing = os.fsdecode(path), begin, clock(), site_of(frame)
        raise
    except OSError as error:
        if ours:
            _log(path, outcome_of(error, "unlink")[0], begin, frame)
        raise
    if ours:
        _log(path, "ok", begin, frame)


def _is_socket(path: Any) -> bool:
    try:
        return stat.S_ISSOCK(_lstat(path).st_mode)
    except (OSError, TypeError, ValueError):
        return False  # absent, or no path at all: the call itself says so


def _log(path: Any, outcome: str, begin: int, frame: Any) -> None:
    end, method = clock(), NUMBER["unlink"]
    owner: Tracked | None = paths.pop(os.fsencode(path), None) if outcome == "ok" else None
    if owner is not None:
        bits, number = step(owner, method, outcome), owner.number
    else:
        row = unmodelled().initial
        bits, number = head(row, row, method, outcome), 0
    form, _, place = packed(os.fsdecode(path))
    log.write(begin, end, bits | form, number, site_of(frame), me.number, 0, place)


FUNCTIONS: tuple[tuple[Any, str, Any], ...] = (
    (_stdlib, "getaddrinfo", getaddrinfo),
    (os, "unlink", unlink),
    (os, "remove", remove),
)
"""(module, attribute, what stands in its place while a process is traced)."""
