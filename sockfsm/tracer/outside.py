"""Steps of a socket's life that are no method of it: resolving a name, removing a path, giving its
number to another one, and its inheritance by a process that is begun without fork()."""

from __future__ import annotations

import os
import socket as _stdlib
import stat
from collections.abc import Callable
from types import FrameType
from typing import Any

from sockfsm.record.clocks import Clocks
from sockfsm.record.layout import NUMBER
from sockfsm.tracer import current
from sockfsm.tracer.buffers import integer, members
from sockfsm.tracer.current import Session
from sockfsm.tracer.elsewhere import share
from sockfsm.tracer.handlers import from_handler
from sockfsm.tracer.likeness import genuine, like, line_of
from sockfsm.tracer.ongoing import OURS, outcome_of
from sockfsm.tracer.places import caller
from sockfsm.tracer.rows import head, step, unmodelled
from sockfsm.tracer.sockets import renumbered

_RESOLVE = NUMBER["getaddrinfo"]
_getaddrinfo = genuine(_stdlib.getaddrinfo)
_unlink = genuine(os.unlink)
_remove = genuine(os.remove)
_dup2 = genuine(os.dup2)
_lstat = os.lstat
_fsencode, _fsdecode = os.fsencode, os.fsdecode
_is_a_socket = stat.S_ISSOCK


def getaddrinfo(
    host: Any, port: Any, family: Any = 0, type: Any = 0, proto: Any = 0, flags: Any = 0
) -> Any:
    looking = _Lookup(host, port, caller())
    return looking.told(_getaddrinfo, host, port, family, type, proto, flags)


def resolver(original: Any) -> Any:
    """A traced getaddrinfo of another library."""

    def look_up(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        return _Lookup(host, port, caller()).told(original, host, port, *args, **named)

    return look_up


class _Lookup:
    """A call of getaddrinfo, from its begin to its record."""

    __slots__ = ("begin", "held", "host", "port", "session", "site", "thread")

    def __init__(self, host: Any, port: Any, frame: FrameType | None) -> None:
        self.host, self.port = host, port
        self.session = session = current.session
        self.begin, self.thread = Clocks.monotonic(), session.me.number
        self.site = session.places.site_of(frame)
        self.held = session.waiting.get(self.thread)
        session.waiting[self.thread] = None, _RESOLVE, self.begin, self.site

    def told(self, original: Any, *args: Any, **named: Any) -> Any:
        """Make the call."""
        try:
            results = original(*args, **named)
        except BaseException as error:
            self.ended(outcome_of(error, "resolve")[0], 0)
            raise
        self.ended("ok", len(results))
        return results

    def ended(self, outcome: str, count: int) -> None:
        """Write it down."""
        session = self.session
        try:
            end, row = Clocks.monotonic(), unmodelled().initial
            if self.held is None:
                session.waiting.pop(self.thread, None)
            else:
                session.waiting[self.thread] = self.held
            if outcome == "ok":
                session.me.resolved = True
            form, _, place = session.addresses.packed(
                (_text(self.host), _text(self.port), "resolve")
            )
            bits = head(row, row, _RESOLVE, outcome) | form
            session.log.write(self.begin, end, bits, 0, self.site, self.thread, 0, place | count)
        except OURS:
            session.log.marked[0] = 1


def _text(value: Any) -> Any:
    """A host or a port as the trace shows it: as it was given, a number as text."""
    if type(value) is bytes:
        return value.decode("latin-1")
    return str(value) if type(value) is int or value is None else value


class StandIn:
    """Stands in for a function of C. Not a function of Python: as an attribute of a class that would
    become a method.

    before: is given the arguments and the caller, and gives what is to be told of the result or the
    error. Whatever of ours fails, the call is made, and what it gives is given.
    """

    def __init__(self, original: Any, before: Callable[..., Told]) -> None:
        self.__wrapped__ = original
        self._before = before
        self.__name__: str = original.__name__
        self.__qualname__ = self.__name__
        self.__module__, self.__doc__ = "os", original.__doc__

    def __call__(self, *args: Any, **named: Any) -> Any:
        session, frame, after = current.session, None, None
        try:
            frame = caller()
            after = self._before(session, args, named, frame)
        except OURS:
            session.log.marked[0] = 1
        if after is None:
            return self._plainly(session, args, named, frame)
        try:
            result = self.__wrapped__(*args, **named)
        except OSError as error:
            try:
                after(error)
            except OURS:
                session.log.marked[0] = 1
            raise
        try:
            after(None)
        except OURS:
            session.log.marked[0] = 1
        return result

    def _plainly(self, session: Session, args: Any, named: Any, frame: FrameType | None) -> Any:
        """C warns of the line that runs, which should be the program's."""
        if frame is not None:
            try:
                line = line_of(frame)
            except OURS:
                session.log.marked[0] = 1
            else:
                return line(self.__wrapped__, args, named)
        return self.__wrapped__(*args, **named)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce__(self) -> str:
        return self.__name__


Told = Callable[[OSError | None], None] | None


def _removal(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> Told:
    """The removal of a path is logged when it is a socket's."""
    path, begin = _plain_path(args, named), Clocks.monotonic()
    if path is None:
        return None
    ours = _is_socket(path)
    return lambda error: _note(session, path, error, ours, begin, frame)


def _renumbering(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> Told:
    """A number that os.dup2 gives away: a socket object that has it is another socket from then on."""
    second = args[1] if len(args) > 1 else named.get("fd2")
    number, begin = integer(second), Clocks.monotonic()
    if number not in session.holders or number == integer(args[0] if args else named.get("fd")):
        return None
    return lambda error: None if error else renumbered(session, number, begin, frame)


def _spawning(
    session: Session, args: tuple[Any, ...], named: dict[str, Any], frame: FrameType | None
) -> Told:
    """A process that is begun by C alone may inherit every socket that is open."""
    share()
    return lambda error: share()


def _note(
    session: Session,
    path: str,
    error: OSError | None,
    ours: bool,
    begin: int,
    frame: FrameType | None,
) -> None:
    if isinstance(error, FileNotFoundError):
        site = session.places.site_of(frame)
        session.me.missing = path, begin, Clocks.monotonic(), site
    elif ours:
        _log(session, path, outcome_of(error, "unlink")[0] if error else "ok", begin, frame)


def _plain_path(args: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """The path that is to be removed; None where only the program's own code could tell it."""
    if named.get("dir_fd") is not None or len(args) > 1:
        return None
    path = args[0] if args else named.get("path")
    # A class of the program's, or its metaclass, is not asked what it is.
    home = members(type(path)).get("__module__")
    if type(home) is str and home.partition(".")[0] == "pathlib":
        path = str(path)
    return _fsdecode(path) if type(path) is str or type(path) is bytes else None


def _is_socket(path: str) -> bool:
    try:
        return _is_a_socket(_lstat(path).st_mode)
    except (OSError, ValueError) as error:
        if from_handler(error):
            raise
        return False  # absent, or no path at all: the call itself says so


def _log(session: Session, path: str, outcome: str, begin: int, frame: FrameType | None) -> None:
    end, method, owner = Clocks.monotonic(), NUMBER["unlink"], None
    if outcome == "ok":
        owner = session.paths.pop(_fsencode(path), None)
    if owner is not None:
        row, number = owner.row, owner.number
        bits, owner.row = step(row, method, outcome, "", owner)
    else:
        row, number = unmodelled().initial, 0
        bits = head(row, row, method, outcome)
    form, _, place = session.addresses.packed(path)
    site, thread = session.places.site_of(frame), session.me.number
    session.log.write(begin, end, bits | form, number, site, thread, 0, place)


FUNCTIONS: tuple[tuple[Any, str, Any], ...] = (
    (_stdlib, "getaddrinfo", like(getaddrinfo, _getaddrinfo)),
    (os, "unlink", StandIn(_unlink, _removal)),
    (os, "remove", StandIn(_remove, _removal)),
    (os, "dup2", StandIn(_dup2, _renumbering)),
    *(
        (os, name, StandIn(genuine(getattr(os, name)), _spawning))
        for name in ("posix_spawn", "posix_spawnp", "system")
    ),
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
